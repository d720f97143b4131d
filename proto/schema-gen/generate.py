#!/usr/bin/env python3
"""Writes `../src/schema/types.txt`, the table of every built-in type, from public facts.

    zcat openapi-v1.33.json.gz > /tmp/openapi.json
    ./generate.py /tmp/openapi.json ~/.cargo/registry/src/*/k8s-pb-0.9.0/src go-zeros.txt > ../src/schema/types.txt

The OpenAPI v2 document that a v1.33 API server publishes says which types and fields there are, `k8s-pb` (generated from
upstream's .proto files, possibly newer ones: numbers never change) says their protobuf numbers, and `go-zeros.txt` what
neither does: which optional fields Go holds by value and which by pointer. The form of the table is described in
`../src/schema/table.rs`.
"""

import collections
import fnmatch
import json
import os
import re
import sys

# Definitions that are values of a special form rather than structs.
SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "intOrString",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "microTime",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "any",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch": "any",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "any",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": "any",
    # Unions of several JSON types with a protobuf form of their own, which no client sends: left without a number.
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray": "any!",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool": "any!",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "any!",
}
# Messages of their own in protobuf whose fields JSON inlines.
INLINED = {
    "device_configuration", "ephemeral_container_common", "handler", "ingress_rule_value", "local_object_reference",
    "persistent_volume_source", "rule", "rule_with_operations", "volume_source",
}
SCALARS = {
    ("string", None): "string", ("string", "byte"): "bytes", ("boolean", None): "bool",
    ("integer", "int32"): "int32", ("integer", "int64"): "int64", ("number", "double"): "double",
}


def normal(name):
    return re.sub("[^a-z0-9]", "", name.lower())


class Numbers:
    """The protobuf numbers in k8s-pb's sources."""

    def __init__(self, root):
        self.root, self.modules = root, {}

    def structs(self, path):
        if path not in self.modules:
            self.modules[path] = self.parse(path) if os.path.exists(path) else {}
        return self.modules[path]

    @staticmethod
    def parse(path):
        found = {}
        text = re.sub(r"^\s*///.*\n", "", open(path).read(), flags=re.M)
        for struct in re.finditer(r"^pub struct (\w+) \{\n(.*?)^\}", text, flags=re.M | re.S):
            fields = re.findall(r'#\[prost\((.*?)tag = "(\d+)"\)\]\s*pub (?:r#)?(\w+):\s*([^#]*?),\n', struct[2], flags=re.S)
            found[normal(struct[1])] = [(name, int(tag), kind, rust) for kind, tag, name, rust in fields]
        return found

    def of(self, definition):
        """Maps each normalised JSON name to its path of numbers, joined by dots."""
        parts = definition.split(".")
        path = os.path.join(self.root, *[p.replace("-", "_") for p in parts[2:-1]], "mod.rs")
        return self.flat(path, normal(parts[-1]))

    def flat(self, path, name):
        out = {}
        for field, tag, kind, rust in self.structs(path).get(name, []):
            if field in INLINED and kind.startswith("message"):
                version, inner = re.search(r"(?:super::(\w+)::)?(\w+)>?$", rust).groups()
                elsewhere = os.path.join(os.path.dirname(os.path.dirname(path)), version, "mod.rs") if version else path
                for key, number in self.flat(elsewhere, normal(inner)).items():
                    out[key] = f"{tag}.{number}"
            else:
                # A list that protobuf wraps in a message (only `APIResource.verbs`) has no form here.
                wrapped = "message" in kind and rust.endswith("<Verbs>")
                out[normal(field)] = "-" if wrapped else str(tag)
        return out


def shape(schema):
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/definitions/")
        return SPECIAL.get(name, name)
    if schema.get("type") == "array":
        return "[]" + shape(schema["items"])
    if schema.get("type") == "object":
        return "{}" + shape(schema["additionalProperties"])
    return SCALARS[schema.get("type"), schema.get("format")]


class Zeros:
    """The hand-kept facts on Go's zero values: lines `value PATTERN…` and `pointer PATTERN…`."""

    def __init__(self, path):
        self.patterns = collections.defaultdict(list)
        for line in open(path):
            words = line.split("#")[0].split()
            if words:
                self.patterns[words[0]] += words[1:]
        self.unused = {p for patterns in self.patterns.values() for p in patterns}

    def listed(self, kind, name):
        hits = [p for p in self.patterns[kind] if fnmatch.fnmatchcase(name, "*." + p)]
        self.unused -= set(hits)
        return bool(hits)

    def is_pointer(self, name, form):
        if form in ("bool", "int32", "int64", "double"):
            return not self.listed("value", name)
        return form == "string" and self.listed("pointer", name)


def flags(definition, field, schema, required, zeros):
    form = shape(schema)
    if required:
        yield "required"
    elif zeros.is_pointer(f"{definition}.{field}", form):
        yield "pointer"
    if schema.get("x-kubernetes-list-type") in ("set", "map"):
        yield ":".join(["list=" + schema["x-kubernetes-list-type"], *schema.get("x-kubernetes-list-map-keys", [])])
    strategy = schema.get("x-kubernetes-patch-strategy")
    if strategy:
        key = schema.get("x-kubernetes-patch-merge-key")
        yield "patch=" + strategy + (f":{key}" if key else "")
    if schema.get("x-kubernetes-map-type") == "atomic":
        yield "atomic"


def kinds(schema):
    listed = schema.get("x-kubernetes-group-version-kind", [])
    if len(listed) > 1:  # DeleteOptions and WatchEvent, which every group version has.
        return ["*/*/" + listed[0]["kind"]]
    return ["/".join((k["group"], k["version"], k["kind"])) for k in listed]


def main():
    openapi, pb, zero_facts = sys.argv[1:]
    definitions = json.load(open(openapi))["definitions"]
    numbers, zeros = Numbers(pb), Zeros(zero_facts)
    for name, definition in sorted(definitions.items()):
        if name in SPECIAL:
            continue
        atomic = ["atomic"] if definition.get("x-kubernetes-map-type") == "atomic" else []
        print("type", name, *kinds(definition), *atomic)
        known = numbers.of(name)
        required = definition.get("required", [])
        for field, schema in sorted(definition.get("properties", {}).items()):
            form = shape(schema)
            number = "-" if form.endswith("any!") else known.get(normal(field), "-")
            print("", field, number, form.rstrip("!"), *flags(name, field, schema, field in required, zeros))
    assert not zeros.unused, f"patterns that match nothing: {sorted(zeros.unused)}"


main()
