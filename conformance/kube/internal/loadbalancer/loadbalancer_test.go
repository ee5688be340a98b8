package loadbalancer

import (
	"context"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

func TestChooseSkipsNetworkUsedAndBroadcast(t *testing.T) {
	pool := netip.MustParsePrefix("172.31.9.0/30")
	used := map[netip.Addr]bool{}
	var got []string
	for {
		address, err := choose(pool, "", used)
		if err != nil {
			break
		}
		used[address] = true
		got = append(got, address.String())
	}
	if len(got) != 2 || got[0] != "172.31.9.1" || got[1] != "172.31.9.2" {
		t.Fatalf("addresses given out of %s: %v", pool, got)
	}
}

func TestChooseWanted(t *testing.T) {
	pool := netip.MustParsePrefix("172.31.9.0/24")
	taken := netip.MustParseAddr("172.31.9.7")
	for wanted, ok := range map[string]bool{"172.31.9.8": true, "172.31.9.7": false, "172.31.8.1": false, "x": false} {
		if _, err := choose(pool, wanted, map[netip.Addr]bool{taken: true}); (err == nil) != ok {
			t.Errorf("wanted %s: error %v", wanted, err)
		}
	}
}

func TestServeGivesAddressesOnce(t *testing.T) {
	other := "somebody.example/else"
	service := func(name string, spec corev1.ServiceSpec) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: spec}
	}
	client := fake.NewClientset(
		service("a", corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}),
		service("b", corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}),
		service("internal", corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP}),
		service("foreign", corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: &other}),
	)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go func() { _ = serve(ctx, client, netip.MustParsePrefix("172.31.9.0/24")) }()

	addresses := map[string]string{}
	for ctx.Err() == nil && len(addresses) < 2 {
		list, err := client.CoreV1().Services("").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range list.Items {
			if ingress := item.Status.LoadBalancer.Ingress; len(ingress) > 0 {
				addresses[item.Name] = ingress[0].IP
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	if len(addresses) != 2 || addresses["a"] == addresses["b"] || addresses["a"] == "" || addresses["b"] == "" {
		t.Fatalf("addresses: %v", addresses)
	}
}

func TestReconcileFollowsTheWantedAddress(t *testing.T) {
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
	}
	client := fake.NewClientset(service)
	a := &allocator{client: client, pool: netip.MustParsePrefix("172.31.9.0/24"), given: map[string]netip.Addr{}}
	for _, step := range []struct{ wanted, given string }{
		{"", "172.31.9.1"},
		{"172.31.9.7", "172.31.9.7"},
		{"", "172.31.9.7"},
		{"192.0.2.1", ""},
		{"172.31.9.7", "172.31.9.7"},
	} {
		current, err := client.CoreV1().Services("default").Get(t.Context(), "a", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		current.Spec.LoadBalancerIP = step.wanted
		indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
		if err := indexer.Add(current); err != nil {
			t.Fatal(err)
		}
		a.services = corelisters.NewServiceLister(indexer)
		if err := a.reconcile(t.Context(), "default/a"); (err != nil) != (step.given == "") {
			t.Fatalf("wanted %q: %v", step.wanted, err)
		}
		current, err = client.CoreV1().Services("default").Get(t.Context(), "a", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		given := ""
		if ingress := current.Status.LoadBalancer.Ingress; len(ingress) > 0 {
			given = ingress[0].IP
		}
		if given != step.given {
			t.Fatalf("wanted %q: given %q, not %q", step.wanted, given, step.given)
		}
	}
}
