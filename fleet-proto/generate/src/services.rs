//! Services: a trait to implement, a server that dispatches to it, and a client.

use std::fmt::Write;

use prost_build::{Method, Service, ServiceGenerator};

pub(crate) struct Services;

/// What holds for whoever implements a service.
const SERVED: &str = "///
/// # Cancel safety
/// Dropped when the caller goes away or its time is up: what it stores must be whole by then, or not there. The future
/// is `Send`; a panic is answered as `internal`.
";

/// What holds for whoever calls one.
const CALLED: &str = "///
/// # Cancel safety
/// Dropped, the call is given up, and whether the server acted is not known. The future is `Send`; it panics only
/// outside of a tokio runtime.
";

impl ServiceGenerator for Services {
    fn generate(&mut self, service: Service, code: &mut String) {
        server(&service, code);
        client(&service, code);
        let name = constant(&service.name);
        let procedures: String =
            service.methods.iter().map(|m| format!("{:?},", path(&service, m))).collect();
        writeln!(
            code,
            "/// Every procedure of the service, as `package.Service/Method`.
            pub const {name}_PROCEDURES: [&str; {}] = [{procedures}];",
            service.methods.len()
        )
        .unwrap();
    }
}

fn server(service: &Service, code: &mut String) {
    let name = &service.name;
    // Agents and probes of another version may send fields that are not known here; operators' typos must not pass.
    let strict = !["agentgateway.v1", "grpc.health.v1"].contains(&service.package.as_str());
    let mut functions = String::new();
    let mut lookup = String::new();
    let mut arms = [String::new(), String::new(), String::new(), String::new()];
    for method in &service.methods {
        let Method { name, input_type, output_type, .. } = method;
        let path = path(service, method);
        let spec = format!("spec::{}_{}", constant(&service.name), constant(name));
        functions.push_str(&docs(&method.comments.leading));
        functions.push_str(SERVED);
        let request = wrapped("crate::rpc::Incoming", input_type, method.client_streaming);
        let response = wrapped("crate::rpc::Outgoing", output_type, method.server_streaming);
        writeln!(
            functions,
            "fn {name}(&self, context: crate::rpc::Context, request: {request})
                -> impl ::core::future::Future<Output = Result<{response}, crate::rpc::Status>> + Send;"
        )
        .unwrap();
        let (kind, arm) = match (method.client_streaming, method.server_streaming) {
            (false, false) => ("unary(false)", 0),
            (true, false) => ("client_streaming()", 1),
            (true, true) => ("bidi_streaming()", 2),
            (false, true) => ("server_streaming()", 3),
        };
        writeln!(lookup, "{path:?} => glue::MethodDescriptor::{kind}.with_spec({spec}),").unwrap();
        let decode = if method.client_streaming { "decode_stream" } else { "decode" };
        let decoded = if method.client_streaming {
            format!("glue::{decode}(request, format, {strict})")
        } else if method.server_streaming {
            format!("glue::{decode}(&request, format, {strict})?")
        } else {
            format!("glue::{decode}(&request.encoded()?, format, {strict})?")
        };
        let encode = if method.server_streaming { "encode_stream" } else { "encode" };
        writeln!(
            arms[arm],
            "{path:?} => {{
                let service = ::std::sync::Arc::clone(&self.0);
                Box::pin(async move {{
                    let request = {decoded};
                    let response = service.{name}(glue::context(context), request).await.map_err(glue::error)?;
                    glue::{encode}(response, format)
                }})
            }}"
        )
        .unwrap();
    }
    let [unary, client_streaming, bidi, server_streaming] = arms;
    write!(
        code,
        r#"
{docs}
#[cfg(feature = "server")]
pub trait {name}: Send + Sync + 'static {{
    {functions}
}}

/// Serves an implementation of [`{name}`].
#[cfg(feature = "server")]
pub struct {name}Server<T>(::std::sync::Arc<T>);

#[cfg(feature = "server")]
impl<T: {name}> {name}Server<T> {{
    /// Wraps an implementation.
    pub fn new(service: ::std::sync::Arc<T>) -> Self {{
        Self(service)
    }}
}}

#[cfg(feature = "server")]
impl<T> ::core::fmt::Debug for {name}Server<T> {{
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{
        f.debug_struct("{name}Server").finish_non_exhaustive()
    }}
}}

#[cfg(feature = "server")]
impl<T: {name}> crate::rpc::Service for {name}Server<T> {{}}

#[cfg(feature = "server")]
impl<T: {name}> glue::Dispatcher for {name}Server<T> {{
    fn lookup(&self, path: &str) -> Option<glue::MethodDescriptor> {{
        Some(match path {{ {lookup} _ => return None }})
    }}

    fn call_unary(&self, path: &str, context: glue::RequestContext, request: glue::Payload, format: glue::CodecFormat) -> glue::UnaryResult {{
        match path {{ {unary} _ => glue::missing(path) }}
    }}

    fn call_server_streaming(&self, path: &str, context: glue::RequestContext, request: ::bytes::Bytes, format: glue::CodecFormat) -> glue::StreamingResult {{
        {server_streaming}
    }}

    fn call_client_streaming(&self, path: &str, context: glue::RequestContext, request: glue::RequestStream, format: glue::CodecFormat) -> glue::UnaryResult {{
        {client_streaming}
    }}

    fn call_bidi_streaming(&self, path: &str, context: glue::RequestContext, request: glue::RequestStream, format: glue::CodecFormat) -> glue::StreamingResult {{
        {bidi}
    }}
}}
"#,
        docs = docs(&service.comments.leading),
        client_streaming = streaming(&client_streaming),
        bidi = streaming(&bidi),
        server_streaming = streaming(&server_streaming),
    )
    .unwrap();
}

/// A service without streams of a kind ignores what such a call brings.
fn streaming(arms: &str) -> String {
    if arms.is_empty() {
        "let _ = (context, request, format); glue::missing(path)".to_owned()
    } else {
        format!("match path {{ {arms} _ => glue::missing(path) }}")
    }
}

fn client(service: &Service, code: &mut String) {
    let name = &service.name;
    let mut specs = String::new();
    let mut functions = String::new();
    for method in &service.methods {
        let Method { name, input_type, output_type, .. } = method;
        let spec = format!("{}_{}", constant(&service.name), constant(name));
        let path = path(service, method);
        let stream = match (method.client_streaming, method.server_streaming) {
            (true, false) => "ClientStream",
            (true, true) => "BidiStream",
            (false, true) => "ServerStream",
            (false, false) => "Unary",
        };
        let level = match method.options.idempotency_level {
            Some(1) => "NoSideEffects",
            Some(2) => "Idempotent",
            _ => "Unknown",
        };
        // Nothing here calls a stream of answers: a client has no use for it.
        let is_served_only = method.server_streaming && !method.client_streaming;
        let served = if is_served_only { "#[cfg(feature = \"server\")]\n" } else { "" };
        writeln!(
            specs,
            "{served}pub(super) const {spec}: glue::Spec = glue::Spec::server(\"/{path}\", glue::StreamType::{stream})
                .with_idempotency_level(glue::IdempotencyLevel::{level});"
        )
        .unwrap();
        if is_served_only {
            continue;
        }
        functions.push_str(&docs(&method.comments.leading));
        functions.push_str("///\n/// # Errors\n/// [`Status`](crate::rpc::Status).\n");
        functions.push_str(CALLED);
        match (method.client_streaming, method.server_streaming) {
            (false, _) => writeln!(
                functions,
                "pub async fn {name}(&self, request: {input_type}) -> Result<{output_type}, crate::rpc::Status> {{
                    self.0.unary(spec::{spec}, request).await
                }}"
            ),
            (true, false) => writeln!(
                functions,
                "pub async fn {name}(&self, requests: impl ::futures::Stream<Item = {input_type}> + Send + 'static)
                    -> Result<{output_type}, crate::rpc::Status> {{
                    self.0.client_stream(spec::{spec}, requests).await
                }}"
            ),
            (true, true) => writeln!(
                functions,
                "pub async fn {name}(&self) -> Result<crate::rpc::Bidi<{input_type}, {output_type}>, crate::rpc::Status> {{
                    self.0.bidi(spec::{spec}).await
                }}"
            ),
        }
        .unwrap();
    }
    // One module of constants a package: prost-build appends services to one file.
    let module = format!("spec_{}", snake(name));
    let specs = format!(
        "#[cfg(any(feature = \"client\", feature = \"server\"))] mod {module} {{ use crate::rpc::glue; {specs} }}\n"
    );
    code.push_str(&specs);
    write!(
        code,
        r#"
/// Calls `{package}.{name}`.
#[cfg(feature = "client")]
#[derive(Debug, Clone)]
pub struct {name}Client(crate::rpc::Channel);

#[cfg(feature = "client")]
impl {name}Client {{
    /// Calls over `channel`.
    #[must_use]
    pub const fn new(channel: crate::rpc::Channel) -> Self {{
        Self(channel)
    }}

    {functions}
}}
"#,
        package = service.package,
    )
    .unwrap();
    *code = code.replace(" spec::", &format!(" {module}::")).replace("(spec::", &format!("({module}::"));
}

fn wrapped(wrapper: &str, message: &str, streaming: bool) -> String {
    if streaming { format!("{wrapper}<{message}>") } else { message.to_owned() }
}

fn path(service: &Service, method: &Method) -> String {
    format!("{}.{}/{}", service.package, service.proto_name, method.proto_name)
}

fn docs(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines.iter().flat_map(|block| block.lines()) {
        writeln!(text, "///{}{}", if line.starts_with(' ') || line.is_empty() { "" } else { " " }, line)
            .unwrap();
    }
    if text.is_empty() { "/// See the .proto file.\n".to_owned() } else { text }
}

/// `CreateApiKey` and `create_api_key` as `CREATE_API_KEY`.
fn constant(name: &str) -> String {
    snake(name).to_uppercase()
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    let mut previous_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && previous_lower {
            out.push('_');
        }
        previous_lower = c.is_lowercase() || c.is_ascii_digit();
        out.extend(c.to_lowercase());
    }
    out
}
