//! The proxy `agentgateway`: command line, start and end.

mod admin;
mod cli;
mod discovery_metrics;
mod dump;
mod file;
mod limit_metrics;
mod process;
mod protocols;
mod proxy;
mod settings;
mod source;
mod telemetry_metrics;
mod upstream_metrics;

use std::path::Path;
use std::process::ExitCode;

use agentgateway_config::Environment;
use agentgateway_proto::resource::Resource;
use agentgateway_telemetry::logging;
use anyhow::Context;
use clap::{CommandFactory, Parser};

use cli::{Cli, Xds};
use file::FileWatch;
use settings::Settings;
use source::Source;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::use_small_pages();
    let cli = Cli::parse();
    match start(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("agentgateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Some(path) = &cli.copy_self {
        process::copy_self(path)?;
        return Ok(ExitCode::SUCCESS);
    }
    if cli.schema {
        println!("{}", serde_json::to_string_pretty(&agentgateway_config::schema())?);
        return Ok(ExitCode::SUCCESS);
    }
    if cli.validate_only {
        let path = cli.file.as_deref().context("--validate-only needs --file")?;
        return validate(path, &cli.process.environment());
    }
    if cli.file.is_none() && cli.xds.xds_address.is_none() {
        Cli::command().print_help()?;
        anyhow::bail!("there is no configuration: give a file with -f, or a control plane with XDS_ADDRESS");
    }
    if process::must_supervise() {
        return process::supervise();
    }
    process::unblock_signals()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("background")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(run(cli));
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

fn validate(path: &Path, environment: &Environment) -> anyhow::Result<ExitCode> {
    let loaded = agentgateway_config::load(path, environment)?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    println!("{}: valid, {} resources", path.display(), loaded.resources.len());
    Ok(ExitCode::SUCCESS)
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    // Before the file is read, so that no change in between is lost.
    let watch = cli.file.as_deref().map(FileWatch::new).transpose()?;
    let environment = cli.process.environment();
    let loaded = cli.file.as_deref().map(|path| agentgateway_config::load(path, &environment)).transpose()?;
    let on_this_machine = cli.file.is_some() || cli.xds.is_on_loopback();
    let settings = Settings::new(&cli.process, loaded.as_ref().map(|l| &l.process), on_this_machine)?;
    logging::init(&settings.log_level, settings.log_format)?;
    process::raise_file_limit();
    let (source, first): (Source, Option<Vec<Resource>>) = match (cli.file, loaded, watch) {
        (Some(path), Some(loaded), Some(mut watch)) => {
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            watch.follow(&loaded.files);
            (Source::File { path, watch, environment }, Some(loaded.resources))
        }
        _ => (Source::ControlPlane(connect(cli.xds)?), None),
    };
    proxy::run(settings, source, first).await
}

fn connect(xds: Xds) -> anyhow::Result<agentgateway_xds_client::Started> {
    let need = |value: Option<String>, name: &str| value.with_context(|| format!("{name} is not set"));
    let address = need(xds.xds_address, "XDS_ADDRESS")?;
    let gateway = format!("{}/{}", need(xds.namespace, "NAMESPACE")?, need(xds.gateway, "GATEWAY")?);
    Ok(agentgateway_xds_client::start(agentgateway_xds_client::ClientConfig {
        address: address.parse().with_context(|| format!("XDS_ADDRESS {address:?} is no URL"))?,
        root_ca: xds.xds_root_ca,
        token: xds.xds_token.context("XDS_TOKEN is not set")?,
        gateway,
        proxy: xds.proxy_name,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        snapshot: xds.snapshot_file,
        capabilities: agentgateway_proto::capabilities::Capabilities::own(),
    }))
}
