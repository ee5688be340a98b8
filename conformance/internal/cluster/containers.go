package cluster

import (
	"context"
	"fmt"
	"strings"
)

// KillContainer sends SIGKILL to the first process of a running container, which nothing inside the container can do.
// The kubelet then restarts it, as after a crash.
func (c *Cluster) KillContainer(ctx context.Context, namespace, pod, container string) error {
	filter := fmt.Sprintf(`labels."io.kubernetes.pod.namespace"==%q,labels."io.kubernetes.pod.name"==%q,labels."io.kubernetes.container.name"==%q`,
		namespace, pod, container)
	known, err := c.ctr(ctx, "containers", "ls", "-q", filter)
	if err != nil {
		return err
	}
	tasks, err := c.ctr(ctx, "tasks", "ls")
	if err != nil {
		return err
	}
	for id := range strings.FieldsSeq(known) {
		if isRunning(tasks, id) {
			_, err := c.ctr(ctx, "tasks", "kill", "--signal", "SIGKILL", id)
			return err
		}
	}
	return fmt.Errorf("cluster %s has no running container %s of pod %s/%s", c.Name, container, namespace, pod)
}

// isRunning reads the table of `ctr tasks ls`: TASK, PID, STATUS.
func isRunning(tasks, id string) bool {
	for line := range strings.Lines(tasks) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == id && fields[2] == "RUNNING" {
			return true
		}
	}
	return false
}
