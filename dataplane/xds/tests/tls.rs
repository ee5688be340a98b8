//! The connection is to a control plane that the CA bundle vouches for, and the bundle may be rotated.

#![allow(clippy::expect_used, reason = "in helpers of tests")]

mod support;

use std::time::Duration;

use agentgateway_controlplane_xds::registry::Phase;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use support::*;
use tonic::transport::Identity;

struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn ca() -> Ca {
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).expect("CA").pem();
    Ca { pem, issuer: Issuer::new(params, key) }
}

fn identity(ca: &Ca) -> Identity {
    let key = KeyPair::generate().expect("key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
    let certificate = params.signed_by(&key, &ca.issuer).expect("certificate");
    Identity::from_pem(certificate.pem(), key.serialize_pem())
}

#[tokio::test]
async fn the_ca_bundle_decides_and_is_read_again_at_each_connect() {
    rustls::crypto::ring::default_provider().install_default().expect("the first provider");
    let (right, wrong) = (ca(), ca());
    let control_plane = ControlPlane::start_at("127.0.0.1:0".parse().expect("address"), Some(identity(&right))).await;
    control_plane.publish(&[bind("b", 80)]);
    control_plane.registry.set_phase(Phase::Serving);

    // A name, so that resolving is tested too.
    let mut setup = Proxy::at(&format!("https://localhost:{}", control_plane.address.port()));
    let bundle = setup.path("ca.pem");
    std::fs::write(&bundle, &wrong.pem).expect("bundle");
    setup.config.root_ca = Some(bundle.clone());
    let mut proxy = setup.start();
    let early = tokio::time::timeout(Duration::from_millis(500), proxy.updates.recv()).await;
    assert!(early.is_err(), "served by a control plane that nobody vouches for");
    assert!(!proxy.status.connected());

    std::fs::write(&bundle, format!("{}{}", wrong.pem, right.pem)).expect("bundle");
    assert_eq!(next(&mut proxy).await, seen(&["Bind/b"], &[]));
}
