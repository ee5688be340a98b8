package suite

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientset "k8s.io/client-go/kubernetes"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/yaml"
)

const (
	// diagnosisTimeout bounds what is read of the cluster after a failure, so that the next test is not held up.
	diagnosisTimeout = 20 * time.Second
	// logTail is how much of each log is kept.
	logTail = int64(2000)
)

// observed are the kinds whose objects are kept. Secrets are not among them.
var observed = []schema.GroupVersionKind{
	{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "Gateway"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "ListenerSet"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "HTTPRoute"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "GRPCRoute"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "TLSRoute"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "TCPRoute"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "UDPRoute"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "BackendTLSPolicy"},
	{Group: "gateway.networking.k8s.io", Version: "v1beta1", Kind: "ReferenceGrant"},
	{Version: "v1", Kind: "Service"},
	{Group: "discovery.k8s.io", Version: "v1", Kind: "EndpointSlice"},
	{Version: "v1", Kind: "Pod"},
}

// logged are the pods whose logs are kept: proxies, and the control plane.
var logged = []string{"gateway.networking.k8s.io/gateway-name", "app.kubernetes.io/component=controlplane"}

// diagnose writes objects and logs to a folder of the test's name below `into`. What cannot be read is noted and left out.
func diagnose(t *testing.T, s *suite.ConformanceTestSuite, into string) {
	folder := filepath.Join(into, filepath.Base(t.Name()))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Logf("diagnosis: %v", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), diagnosisTimeout)
	defer cancel()
	for _, kind := range observed {
		objects := &unstructured.UnstructuredList{}
		objects.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		if err := s.Client.List(ctx, objects); err != nil {
			t.Logf("diagnosis: %s: %v", kind.Kind, err)
			continue
		}
		for i := range objects.Items {
			objects.Items[i].SetManagedFields(nil)
		}
		if text, err := yaml.Marshal(objects); err == nil && len(objects.Items) > 0 {
			keep(t, filepath.Join(folder, kind.Kind+".yaml"), text)
		}
	}
	for _, selector := range logged {
		pods, err := s.Clientset.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			t.Logf("diagnosis: pods: %v", err)
			continue
		}
		for _, pod := range pods.Items {
			if text, err := logOf(ctx, s.Clientset, pod); err == nil {
				keep(t, filepath.Join(folder, pod.Namespace+"."+pod.Name+".log"), text)
			} else {
				t.Logf("diagnosis: log of %s/%s: %v", pod.Namespace, pod.Name, err)
			}
		}
	}
	t.Logf("diagnosis: objects and logs are in %s", folder)
}

func logOf(ctx context.Context, cluster clientset.Interface, pod corev1.Pod) ([]byte, error) {
	tail := logTail
	stream, err := cluster.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{TailLines: &tail}).Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return io.ReadAll(stream)
}

func keep(t *testing.T, file string, content []byte) {
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Logf("diagnosis: %v", err)
	}
}
