// Package loadbalancer gives every Service of type LoadBalancer an address out of one range.
//
// It only writes status.loadBalancer.ingress; kube-proxy makes the address work, and a route to the node makes it
// reachable. Services that name a loadBalancerClass belong to somebody else.
package loadbalancer

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

// resync makes Services that found the range exhausted try again.
const resync = 30 * time.Second

// NewCommand is `kube lb`.
func NewCommand() *cobra.Command {
	var kubeconfig, pool string
	command := &cobra.Command{
		Use:          "lb",
		Short:        "Allocate addresses for Services of type LoadBalancer",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error {
			prefix, err := netip.ParsePrefix(pool)
			if err != nil {
				return fmt.Errorf("--range: %w", err)
			}
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return err
			}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return err
			}
			return serve(command.Context(), client, prefix.Masked())
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "file with the credentials for the API server")
	command.Flags().StringVar(&pool, "range", "", "addresses to give out, as a prefix (172.31.1.0/24)")
	_ = command.MarkFlagRequired("range")
	return command
}

type allocator struct {
	client   kubernetes.Interface
	services corelisters.ServiceLister
	pool     netip.Prefix
	// given holds what was written but may not have come back through the watch yet, by Service key.
	given map[string]netip.Addr
}

func serve(ctx context.Context, client kubernetes.Interface, pool netip.Prefix) error {
	factory := informers.NewSharedInformerFactory(client, resync)
	informer := factory.Core().V1().Services()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](50*time.Millisecond, 5*time.Second))
	enqueue := func(object any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
			queue.Add(key)
		}
	}
	if _, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, object any) { enqueue(object) },
		DeleteFunc: enqueue,
	}); err != nil {
		return err
	}
	a := &allocator{client: client, services: informer.Lister(), pool: pool, given: map[string]netip.Addr{}}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.Informer().HasSynced) {
		return ctx.Err()
	}
	go func() {
		<-ctx.Done()
		queue.ShutDown()
	}()
	for {
		key, stop := queue.Get()
		if stop {
			return nil
		}
		if err := a.reconcile(ctx, key); err != nil {
			slog.Error("service gets no address", "service", key, "error", err)
			queue.AddRateLimited(key)
		} else {
			queue.Forget(key)
		}
		queue.Done(key)
	}
}

func (a *allocator) reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	service, err := a.services.Services(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		delete(a.given, key)
		return nil
	}
	if err != nil {
		return err
	}
	if service.Spec.Type != corev1.ServiceTypeLoadBalancer || service.Spec.LoadBalancerClass != nil {
		delete(a.given, key)
		return nil
	}
	held, wanted := service.Status.LoadBalancer.Ingress, service.Spec.LoadBalancerIP
	if len(held) > 0 && (wanted == "" || held[0].IP == wanted) {
		return nil
	}
	all, err := a.services.List(labels.Everything())
	if err != nil {
		return err
	}
	// An address that is wanted and cannot be given leaves the Service without any: another one is not what was asked for.
	var ingress []corev1.LoadBalancerIngress
	address, unusable := choose(a.pool, wanted, inUse(all, a.given, key))
	if unusable == nil {
		ingress = []corev1.LoadBalancerIngress{{IP: address.String()}}
	} else if len(held) == 0 {
		return unusable
	}
	updated := service.DeepCopy()
	updated.Status.LoadBalancer.Ingress = ingress
	if _, err := a.client.CoreV1().Services(namespace).UpdateStatus(ctx, updated, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if unusable != nil {
		delete(a.given, key)
		return unusable
	}
	a.given[key] = address
	slog.Info("address given", "service", key, "address", address.String())
	return nil
}

// inUse collects the addresses that any Service but `except` holds.
func inUse(services []*corev1.Service, given map[string]netip.Addr, except string) map[netip.Addr]bool {
	used := map[netip.Addr]bool{}
	for _, service := range services {
		if service.Namespace+"/"+service.Name == except {
			continue
		}
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			if address, err := netip.ParseAddr(ingress.IP); err == nil {
				used[address] = true
			}
		}
	}
	for key, address := range given {
		if key != except {
			used[address] = true
		}
	}
	return used
}

// choose returns the wanted address, or the lowest free one. The network address and the broadcast address of the
// pool are never given out.
func choose(pool netip.Prefix, wanted string, used map[netip.Addr]bool) (netip.Addr, error) {
	if wanted != "" {
		address, err := netip.ParseAddr(wanted)
		switch {
		case err != nil:
			return netip.Addr{}, fmt.Errorf("spec.loadBalancerIP: %w", err)
		case !pool.Contains(address):
			return netip.Addr{}, fmt.Errorf("spec.loadBalancerIP %s is not in the range %s", address, pool)
		case used[address]:
			return netip.Addr{}, fmt.Errorf("spec.loadBalancerIP %s is in use by another service", address)
		}
		return address, nil
	}
	for address := pool.Addr().Next(); pool.Contains(address.Next()); address = address.Next() {
		if !used[address] {
			return address, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no free address in the range %s", pool)
}
