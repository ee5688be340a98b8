package dns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

func meta(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "ns", Name: name} }

func zoneWith(t *testing.T, objects ...runtime.Object) *zone {
	t.Helper()
	factory := informers.NewSharedInformerFactory(fake.NewClientset(objects...), 0)
	z := &zone{services: factory.Core().V1().Services().Lister(), slices: factory.Discovery().V1().EndpointSlices().Lister()}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return z
}

func objects() []runtime.Object {
	no, hostname := false, "first"
	return []runtime.Object{
		&corev1.Service{ObjectMeta: meta("web"), Spec: corev1.ServiceSpec{
			ClusterIP: "10.96.0.50", ClusterIPs: []string{"10.96.0.50"},
			Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstr.FromInt32(8080)}},
		}},
		&corev1.Service{ObjectMeta: meta("pods"), Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone,
			Ports:     []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstr.FromInt32(8080)}},
		}},
		&corev1.Service{ObjectMeta: meta("alias"), Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "web.ns.svc.cluster.local"}},
		&corev1.Service{ObjectMeta: meta("loop"), Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "loop.ns.svc.cluster.local"}},
		&corev1.Service{ObjectMeta: meta("away"), Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.org"}},
		&discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: "ns", Name: "pods-1", Labels: map[string]string{discoveryv1.LabelServiceName: "pods"}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints: []discoveryv1.Endpoint{
				{Addresses: []string{"10.101.0.7"}, Hostname: &hostname},
				{Addresses: []string{"10.101.0.8"}},
				{Addresses: []string{"10.101.0.9"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}},
			},
		},
	}
}

func ask(t *testing.T, z *zone, name string, kind dnsmessage.Type, udp bool) dnsmessage.Message {
	t.Helper()
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	packed, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	reply, err := z.reply(packed, udp)
	if err != nil {
		t.Fatal(err)
	}
	var answer dnsmessage.Message
	if err := answer.Unpack(reply); err != nil {
		t.Fatal(err)
	}
	if !answer.Response || answer.ID != 7 {
		t.Fatalf("not an answer to the question: %+v", answer.Header)
	}
	return answer
}

func texts(answer dnsmessage.Message) []string {
	var found []string
	for _, resource := range answer.Answers {
		switch body := resource.Body.(type) {
		case *dnsmessage.AResource:
			found = append(found, netip.AddrFrom4(body.A).String())
		case *dnsmessage.CNAMEResource:
			found = append(found, "-> "+body.CNAME.String())
		case *dnsmessage.SRVResource:
			found = append(found, fmt.Sprintf("%s:%d", body.Target, body.Port))
		}
	}
	return found
}

func TestAnswers(t *testing.T) {
	z := zoneWith(t, objects()...)
	for _, c := range []struct {
		name string
		kind dnsmessage.Type
		code dnsmessage.RCode
		want []string
	}{
		{"web.ns.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, []string{"10.96.0.50"}},
		{"WEB.ns.Svc.Cluster.Local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, []string{"10.96.0.50"}},
		{"web.ns.svc.cluster.local.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, nil},
		{"_http._tcp.web.ns.svc.cluster.local.", dnsmessage.TypeSRV, dnsmessage.RCodeSuccess, []string{"web.ns.svc.cluster.local.:80"}},
		{"_http._udp.web.ns.svc.cluster.local.", dnsmessage.TypeSRV, dnsmessage.RCodeNameError, nil},
		{"pods.ns.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, []string{"10.101.0.8", "10.101.0.7"}},
		{"first.pods.ns.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, []string{"10.101.0.7"}},
		{"10-101-0-9.pods.ns.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, nil},
		{"_http._tcp.pods.ns.svc.cluster.local.", dnsmessage.TypeSRV, dnsmessage.RCodeSuccess,
			[]string{"10-101-0-8.pods.ns.svc.cluster.local.:8080", "first.pods.ns.svc.cluster.local.:8080"}},
		{"alias.ns.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, []string{"-> web.ns.svc.cluster.local.", "10.96.0.50"}},
		{"alias.ns.svc.cluster.local.", dnsmessage.TypeCNAME, dnsmessage.RCodeSuccess, []string{"-> web.ns.svc.cluster.local."}},
		{"away.ns.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, []string{"-> example.org."}},
		{"nobody.ns.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, nil},
		{"web.other.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, nil},
		{"ns.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, nil},
		{"example.org.", dnsmessage.TypeA, dnsmessage.RCodeNameError, nil},
		{"example.org.ns.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, nil},
	} {
		answer := ask(t, z, c.name, c.kind, true)
		if answer.RCode != c.code || !slices.Equal(texts(answer), c.want) {
			t.Errorf("%s %s: %s %q, not %s %q", c.kind, c.name, answer.RCode, texts(answer), c.code, c.want)
		}
		if len(answer.Answers) == 0 && len(answer.Authorities) != 1 {
			t.Errorf("%s %s: an empty answer without the record that says how long it holds", c.kind, c.name)
		}
	}
}

func TestAliasOfItselfEnds(t *testing.T) {
	answer := ask(t, zoneWith(t, objects()...), "loop.ns.svc.cluster.local.", dnsmessage.TypeA, false)
	if n := len(answer.Answers); n == 0 || n > longestChain+1 {
		t.Fatalf("%d answers", n)
	}
}

func TestLargeAnswerIsCutForUDPAlone(t *testing.T) {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "pods-2", Labels: map[string]string{discoveryv1.LabelServiceName: "pods"}}}
	for i := range 100 {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.101.1.%d", i)}})
	}
	z := zoneWith(t, append(objects(), slice)...)
	if answer := ask(t, z, "pods.ns.svc.cluster.local.", dnsmessage.TypeA, true); !answer.Truncated || len(answer.Answers) != 0 {
		t.Errorf("UDP: truncated %t, %d answers", answer.Truncated, len(answer.Answers))
	}
	if answer := ask(t, z, "pods.ns.svc.cluster.local.", dnsmessage.TypeA, false); answer.Truncated || len(answer.Answers) != 102 {
		t.Errorf("TCP: truncated %t, %d answers", answer.Truncated, len(answer.Answers))
	}
}

func TestBrokenQueriesAreNoAnswers(t *testing.T) {
	z := zoneWith(t)
	for _, query := range [][]byte{nil, {1, 2, 3}, make([]byte, 11)} {
		if _, err := z.reply(query, true); err == nil {
			t.Errorf("an answer to % x", query)
		}
	}
}
