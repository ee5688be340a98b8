//! `agentgateway-controlplane`: watches Gateway API resources and programs proxies over xDS.

mod args;
mod certificates;
mod discovery;
mod folder;
mod http;
mod kubernetes;
mod logging;
mod metrics;
mod shutdown;
mod world;

use anyhow::Context;
use clap::Parser;
use hyper::StatusCode;
use tokio::sync::watch;

use crate::args::Args;
use crate::http::Page;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;

/// The work is bursts of translation beside many idle streams; more threads only cost memory.
const THREADS: usize = 2;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    logging::init(&args.log_level, args.log_format).context("--log-level")?;
    // Fails only when a provider is set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?.block_on(run(args))
}

async fn run(args: Args) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals()?;
    let metrics = Metrics::default();
    let (ready, is_ready) = watch::channel(false);
    let stopping = shutdown.clone();
    let health = is_ready.clone();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        stopping.wait().await;
        stop.send_replace(true);
    });
    let address = args.health_address();
    http::serve(address, move |path| match path {
        "/readyz" if *stopped.borrow() => Page::text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        "/readyz" if !*health.borrow() => Page::text(StatusCode::SERVICE_UNAVAILABLE, "not all inputs were seen yet\n"),
        "/readyz" | "/healthz" => Page::text(StatusCode::OK, "ok\n"),
        _ => Page::text(StatusCode::NOT_FOUND, "/readyz and /healthz are here\n"),
    })
    .await
    .with_context(|| format!("cannot open the health port {address}"))?;
    let address = args.metrics_address();
    let shown = metrics.clone();
    http::serve(address, move |path| match path {
        "/metrics" => Page {
            status: StatusCode::OK,
            content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
            body: shown.text(),
        },
        _ => Page::text(StatusCode::NOT_FOUND, "/metrics is here\n"),
    })
    .await
    .with_context(|| format!("cannot open the metrics port {address}"))?;

    match args.manifests.clone() {
        Some(folder) => folder::run(args, folder, metrics, ready, shutdown).await,
        None => kubernetes::run(args, metrics, ready, shutdown).await,
    }
}
