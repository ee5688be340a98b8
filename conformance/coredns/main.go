// Command coredns is CoreDNS with the plugins that the Gateway API's conformance suite configures, and no others: the backend
// of its UDP tests.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/whoami"
)

func main() {
	// The order in which a request passes them.
	dnsserver.Directives = []string{"errors", "log", "forward", "whoami"}
	coremain.Run()
}
