package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// makeCgroups makes the node's control group, which the kubelet expects to find, in every hierarchy (cgroup v1) or in
// the one tree (v2).
func (c *Cluster) makeCgroups() error {
	if controllers, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		for controller := range strings.FieldsSeq(string(controllers)) {
			// A controller that is on already, or that the kernel keeps elsewhere, is none of our concern; the kubelet
			// names the ones that it misses.
			_ = os.WriteFile(filepath.Join(cgroupRoot, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
		}
		return os.MkdirAll(filepath.Join(cgroupRoot, c.cgroup()), 0o755)
	}
	hierarchies, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return err
	}
	for _, hierarchy := range hierarchies {
		root := filepath.Join(cgroupRoot, hierarchy.Name())
		if info, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil || !info.Mode().IsRegular() {
			continue
		}
		group := filepath.Join(root, c.cgroup())
		if err := os.MkdirAll(group, 0o755); err != nil {
			return fmt.Errorf("control group: %w", err)
		}
		if err := fillCpuset(root, group); err != nil {
			return err
		}
	}
	return nil
}

// fillCpuset gives a new group the parent's processors and memory: in cgroup v1 it begins with none, and takes no process.
func fillCpuset(parent, group string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, name))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(group, name), value, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(group, "cgroup.clone_children"), []byte("1"), 0o644)
}

// removeCgroups removes the node's groups from the leaves up. A group is busy for a moment after its last process.
func (c *Cluster) removeCgroups(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		var problems []error
		for _, group := range c.cgroups() {
			if err := unix.Rmdir(group); err != nil && !errors.Is(err, unix.ENOENT) {
				problems = append(problems, fmt.Errorf("control group %s: %w", group, err))
			}
		}
		if len(problems) == 0 || time.Now().After(deadline) {
			return errors.Join(problems...)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// cgroups lists the node's groups, children before parents.
func (c *Cluster) cgroups() []string {
	roots, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", c.cgroup()))
	roots = append(roots, filepath.Join(cgroupRoot, c.cgroup()))
	var groups []string
	for _, root := range roots {
		_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				groups = append(groups, path)
			}
			return nil
		})
	}
	slices.Reverse(groups)
	return groups
}
