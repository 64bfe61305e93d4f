//! `aiviary call`: one tool from the shell, through the same code and settings as the server.

use std::sync::Arc;

use serde_json::Map;

use super::{Call, Context, Exit, Failure, owner, print};
use crate::roles::mcp;
use crate::server::json;
use crate::telemetry::{self, LogSettings};
use crate::tool::{Access, Progress};

pub(super) fn run(args: Call, context: &Context) -> Result<Exit, Failure> {
    let config = context.load()?;
    telemetry::init(&LogSettings { filter: "warn".to_owned(), ..config.log() });
    let usage = |words: String| Failure::new(Exit::Usage, words);
    let client =
        args.client.map(|client| client.parse().map_err(|error| usage(format!("--client: {error}")))).transpose()?;
    let arguments = match &args.arguments {
        Some(text) => json::object(text.as_bytes()).map_err(|fault| {
            // Here it is no request's body.
            let words = fault.to_string().replacen("the body", "the argument", 1);
            Failure::new(Exit::BadArguments, format!("{words}; write it as in '{{\"limit\":5}}'"))
        })?,
        None => Map::new(),
    };
    let settings = config.mcp(args.platform, &context.secrets())?;
    let journal = settings.state.clone();
    let mcp = Arc::new(mcp::open(settings)?);
    if mcp.offer().find(&args.tool).is_ok_and(|tool| tool.access != Access::Read) {
        owner::check_made(&journal, context)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(mcp.call(&args.tool, arguments, client, Progress::default())) {
        Ok(served) => {
            print(&format!("{}\n", served.text))?;
            Ok(Exit::Done)
        }
        Err(failure) => {
            let exit = match failure.code() {
                "invalid_params" => Exit::BadArguments,
                "connect_unavailable" | "meta_unavailable" | "meta_timeout" => Exit::Unavailable,
                _ => Exit::Failed,
            };
            Err(Failure::new(exit, format!("{} [{}]", failure.message(), failure.code())))
        }
    }
}
