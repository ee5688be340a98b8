//go:build tools

// Package suite pins what is taken from the Gateway API's own modules beside the conformance suite: the echo server that the
// suite's manifests run, and the CRDs, which lie beside the Go code.
package suite

import (
	_ "sigs.k8s.io/gateway-api/conformance/echo-basic"
	_ "sigs.k8s.io/gateway-api/pkg/consts"
)
