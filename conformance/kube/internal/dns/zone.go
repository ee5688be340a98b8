package dns

import (
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
)

const (
	clusterDomain = "cluster.local."
	// seconds keeps caches short: tests create and delete Services quickly.
	seconds = 1
	// longestChain bounds how many ExternalName Services may point at each other.
	longestChain = 8
)

// startOfAuthority goes with every empty answer: resolvers take the lifetime of "no such name" from it (RFC 2308).
var startOfAuthority = dnsmessage.Resource{
	Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(clusterDomain), Type: dnsmessage.TypeSOA, Class: dnsmessage.ClassINET, TTL: seconds},
	Body: &dnsmessage.SOAResource{
		NS: dnsmessage.MustNewName("ns.dns." + clusterDomain), MBox: dnsmessage.MustNewName("hostmaster." + clusterDomain),
		Serial: 1, Refresh: 60, Retry: 10, Expire: 600, MinTTL: seconds,
	},
}

// zone answers out of the informers' caches.
type zone struct {
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
}

// host is one name with its addresses: a Service, or an endpoint of a headless one.
type host struct {
	name      string
	addresses []netip.Addr
}

// answer resolves a question and follows aliases inside the cluster's domain: a resolver that asks for recursion takes
// an alias without an address for a name without one.
func (z *zone) answer(question dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
	code, records := z.lookUp(question)
	for links := 0; links < longestChain && len(records) > 0; links++ {
		alias, ok := records[len(records)-1].Body.(*dnsmessage.CNAMEResource)
		if !ok || question.Type == dnsmessage.TypeCNAME || !strings.HasSuffix(strings.ToLower(alias.CNAME.String()), "."+clusterDomain) {
			break
		}
		var more []dnsmessage.Resource
		code, more = z.lookUp(dnsmessage.Question{Name: alias.CNAME, Type: question.Type, Class: question.Class})
		if len(more) == 0 {
			break
		}
		records = append(records, more...)
	}
	return code, records
}

// lookUp says whether the name exists (a name without records of the asked type exists: NOERROR and no answers) and
// gives its records.
func (z *zone) lookUp(question dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
	if question.Class != dnsmessage.ClassINET {
		return dnsmessage.RCodeRefused, nil
	}
	name := strings.ToLower(question.Name.String())
	if name == clusterDomain || name == "svc."+clusterDomain {
		return dnsmessage.RCodeSuccess, nil
	}
	below, ok := strings.CutSuffix(name, ".svc."+clusterDomain)
	if !ok {
		return dnsmessage.RCodeNameError, nil
	}
	labels := strings.Split(below, ".")
	last := len(labels) - 1
	namespace := labels[last]
	if last == 0 {
		if all, err := z.services.Services(namespace).List(everything); err != nil || len(all) == 0 {
			return dnsmessage.RCodeNameError, nil
		}
		return dnsmessage.RCodeSuccess, nil
	}
	service, err := z.services.Services(namespace).Get(labels[last-1])
	if err != nil {
		return dnsmessage.RCodeNameError, nil
	}
	return z.answerService(question, service, labels[:last-1])
}

// answerService handles `below` + service: nothing, an endpoint's hostname, or _port._protocol.
func (z *zone) answerService(question dnsmessage.Question, service *corev1.Service, below []string) (dnsmessage.RCode, []dnsmessage.Resource) {
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		target, err := dnsmessage.NewName(strings.TrimSuffix(service.Spec.ExternalName, ".") + ".")
		if err != nil || len(below) > 0 {
			return dnsmessage.RCodeNameError, nil
		}
		return dnsmessage.RCodeSuccess, []dnsmessage.Resource{record(question.Name, dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: target})}
	}
	full := service.Name + "." + service.Namespace + ".svc." + clusterDomain
	switch {
	case len(below) == 0:
		var answers []dnsmessage.Resource
		for _, host := range z.hosts(service, full) {
			answers = append(answers, addressRecords(question, host.addresses)...)
		}
		return dnsmessage.RCodeSuccess, answers
	case len(below) == 1:
		for _, host := range z.hosts(service, full) {
			if host.name == below[0]+"."+full {
				return dnsmessage.RCodeSuccess, addressRecords(question, host.addresses)
			}
		}
	case len(below) == 2 && strings.HasPrefix(below[0], "_") && strings.HasPrefix(below[1], "_"):
		for _, port := range service.Spec.Ports {
			if port.Name == below[0][1:] && strings.EqualFold(string(port.Protocol), below[1][1:]) {
				return dnsmessage.RCodeSuccess, z.serviceRecords(question, service, full, port)
			}
		}
	}
	return dnsmessage.RCodeNameError, nil
}

// hosts lists what stands behind a Service's name: its cluster addresses, or the ready endpoints of a headless one.
func (z *zone) hosts(service *corev1.Service, full string) []host {
	if service.Spec.ClusterIP != corev1.ClusterIPNone {
		return []host{{name: full, addresses: parse(service.Spec.ClusterIPs)}}
	}
	found, err := z.slices.EndpointSlices(service.Namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: service.Name}))
	if err != nil {
		return nil
	}
	byName := map[string]*host{}
	for _, slice := range found {
		for _, endpoint := range slice.Endpoints {
			ready := endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
			addresses := parse(endpoint.Addresses)
			if len(addresses) == 0 || !(ready || service.Spec.PublishNotReadyAddresses) {
				continue
			}
			label := strings.NewReplacer(".", "-", ":", "-").Replace(addresses[0].String())
			if endpoint.Hostname != nil && *endpoint.Hostname != "" {
				label = *endpoint.Hostname
			}
			name := label + "." + full
			if byName[name] == nil {
				byName[name] = &host{name: name}
			}
			byName[name].addresses = append(byName[name].addresses, addresses...)
		}
	}
	hosts := make([]host, 0, len(byName))
	for _, host := range byName {
		slices.SortFunc(host.addresses, netip.Addr.Compare)
		host.addresses = slices.Compact(host.addresses)
		hosts = append(hosts, *host)
	}
	slices.SortFunc(hosts, func(a, b host) int { return strings.Compare(a.name, b.name) })
	return hosts
}

func (z *zone) serviceRecords(question dnsmessage.Question, service *corev1.Service, full string, port corev1.ServicePort) []dnsmessage.Resource {
	if question.Type != dnsmessage.TypeSRV && question.Type != dnsmessage.TypeALL {
		return nil
	}
	number := uint16(port.Port)
	if service.Spec.ClusterIP == corev1.ClusterIPNone && port.TargetPort.IntVal != 0 {
		number = uint16(port.TargetPort.IntVal)
	}
	var records []dnsmessage.Resource
	for _, host := range z.hosts(service, full) {
		if target, err := dnsmessage.NewName(host.name); err == nil {
			records = append(records, record(question.Name, dnsmessage.TypeSRV, &dnsmessage.SRVResource{Weight: 100, Port: number, Target: target}))
		}
	}
	return records
}

func addressRecords(question dnsmessage.Question, addresses []netip.Addr) []dnsmessage.Resource {
	var records []dnsmessage.Resource
	for _, address := range addresses {
		wanted := func(kind dnsmessage.Type) bool {
			return question.Type == kind || question.Type == dnsmessage.TypeALL
		}
		switch {
		case address.Is4() && wanted(dnsmessage.TypeA):
			records = append(records, record(question.Name, dnsmessage.TypeA, &dnsmessage.AResource{A: address.As4()}))
		case address.Is6() && wanted(dnsmessage.TypeAAAA):
			records = append(records, record(question.Name, dnsmessage.TypeAAAA, &dnsmessage.AAAAResource{AAAA: address.As16()}))
		}
	}
	return records
}

func record(name dnsmessage.Name, kind dnsmessage.Type, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Type: kind, Class: dnsmessage.ClassINET, TTL: seconds}, Body: body}
}

func parse(texts []string) []netip.Addr {
	var addresses []netip.Addr
	for _, text := range texts {
		if address, err := netip.ParseAddr(text); err == nil {
			addresses = append(addresses, address.Unmap())
		}
	}
	return addresses
}

var everything = labels.Everything()
