//! A stand-in for vLLM: many model servers in one process, each on a port of its own, that queue, batch, fill a KV cache with
//! real block hashes, take time per token, load LoRA adapters and show the `vllm:*` metrics. Flags follow llm-d-inference-sim's.

mod cache;
mod engine;
mod http;
mod lora;
mod metrics;
mod parameters;
mod prompt;
mod reply;

use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::Context;
use clap::Parser;
use tokio::net::TcpListener;

use engine::Engine;
use parameters::Parameters;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let parameters = Rc::new(Parameters::parse());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(parameters))
}

async fn serve(parameters: Rc<Parameters>) -> anyhow::Result<()> {
    for pod in 0..parameters.pods {
        let port = if parameters.port == 0 { 0 } else { parameters.port + pod };
        let address = SocketAddr::new(parameters.address, port);
        let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        // Whoever asked for any port reads which one it became.
        println!("{}", listener.local_addr()?);
        let engine = Engine::new(Rc::clone(&parameters), listener.local_addr()?.port());
        tokio::task::spawn_local(http::serve(listener, engine));
    }
    println!("ready");
    tokio::signal::ctrl_c().await?;
    Ok(())
}
