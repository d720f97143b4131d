//! EndpointSlices and Endpoints: which pods answer for a Service. Both come from the same facts.
