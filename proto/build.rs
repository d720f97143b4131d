//! Generates the gRPC code with `protox`, so that no `protoc` is needed.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/nodelink.proto"];
    println!("cargo:rerun-if-changed=proto");
    let set = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().compile_fds(set)?;
    Ok(())
}
