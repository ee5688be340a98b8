package loadbalancer

import (
	"context"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
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
