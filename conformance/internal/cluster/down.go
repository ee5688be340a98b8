package cluster

import (
	"errors"
	"fmt"
	"os"

	"time"

	"golang.org/x/sys/unix"
)

const (
	// killLimit is for the kernel to end every process of a node.
	killLimit = 20 * time.Second
	// cgroupLimit is for control groups to notice that their processes are gone.
	cgroupLimit = 10 * time.Second
)

// Down removes a cluster whatever state it is in; that there is none is no error.
func Down(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("removing a test cluster needs root")
	}
	if err := sbinInPath(); err != nil {
		return err
	}
	if _, err := os.Stat(recordPath(name)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	unlock, err := lock(clusterLock(name))
	if err != nil {
		return err
	}
	defer unlock()
	c, err := read(recordPath(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if c != nil {
		if err := c.stop(); err != nil {
			return fmt.Errorf("cluster %s is not wholly removed: %w", name, err)
		}
	}
	return release(name)
}

// stop ends the node. Its first process takes all others, every mount and every interface with it.
func (c *Cluster) stop() error {
	if err := c.Node.Kill(unix.SIGKILL); err != nil {
		return err
	}
	if !c.Node.WaitGone(killLimit) {
		return fmt.Errorf("process %d, the first one of the node, does not end", c.Node.PID)
	}
	for name, id := range c.Components {
		if !id.WaitGone(killLimit) {
			return fmt.Errorf("%s (process %d) does not end", name, id.PID)
		}
	}
	return errors.Join(
		c.disconnect(),
		c.removeCgroups(cgroupLimit),
		removeTree(c.Directory()),
		os.RemoveAll(c.socketDirectory()),
	)
}

// release forgets the cluster, and with the last one takes back what was changed on the host.
func release(name string) error {
	unlock, err := lock(hostLock())
	if err != nil {
		return err
	}
	defer unlock()
	for _, path := range []string{recordPath(name), recordPath(name) + ".new", clusterLock(name)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	all, err := All()
	if err != nil || len(all) > 0 {
		return err
	}
	return restoreHost()
}

// Stop ends one program of a running cluster, as if it had crashed; Up starts it again.
func (c *Cluster) Stop(name string) error {
	id, ok := c.Components[name]
	if !ok {
		return fmt.Errorf("cluster %s has no %q", c.Name, name)
	}
	if err := id.Kill(unix.SIGKILL); err != nil {
		return err
	}
	if !id.WaitGone(killLimit) {
		return fmt.Errorf("%s (process %d) does not end", name, id.PID)
	}
	return nil
}
