// Package node makes the machine that a cluster runs on: one set of process, mount and network namespaces.
//
// Its first process does nothing but hold them and reap. When that process is killed the kernel kills all others of
// the node and drops its mounts and interfaces, so that a cluster can always be removed as a whole.
package node

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"agentgateway/conformance/internal/process"
)

// InitCommand is the first argument with which this program starts itself as the first process of a node.
const InitCommand = "node-init"

// PrivateDirectories are the places outside the cluster's own folders that container runtime, CNI plugins and kubelet
// write to. Each node sees an empty file system of its own there. /run is private too, see isolate.
var PrivateDirectories = []string{"/var/lib/cni", "/var/lib/kubelet", "/var/log"}

// Start makes the namespaces. `record` is called with the first process before that does anything; when it fails, or
// this program dies meanwhile, nothing is left. `socketDirectory` is the one folder below /run that node and host share.
func Start(socketDirectory string, logFile string, record func(process.ID) error) (process.ID, error) {
	self, err := os.Executable()
	if err != nil {
		return process.ID{}, err
	}
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return process.ID{}, err
	}
	defer func() { _ = log.Close() }()
	goAhead, permit, err := os.Pipe()
	if err != nil {
		return process.ID{}, err
	}
	defer func() { _ = permit.Close() }()
	answer, ready, err := os.Pipe()
	if err != nil {
		return process.ID{}, errors.Join(err, goAhead.Close())
	}
	defer func() { _ = answer.Close() }()

	command := exec.Command(self, InitCommand, socketDirectory)
	command.Stdout, command.Stderr = log, log
	command.ExtraFiles = []*os.File{goAhead, ready}
	command.Dir = "/"
	command.SysProcAttr = &unix.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET}
	err = command.Start()
	_, _ = goAhead.Close(), ready.Close()
	if err != nil {
		return process.ID{}, fmt.Errorf("no namespaces for the node: %w", err)
	}
	id, err := process.Of(command.Process.Pid)
	if err == nil {
		err = record(id)
	}
	if err != nil {
		_ = command.Process.Kill()
		_ = command.Wait()
		return process.ID{}, err
	}
	if _, err := permit.WriteString("go\n"); err != nil {
		return id, fmt.Errorf("the node's first process ended: see %s", logFile)
	}
	line, err := bufio.NewReader(answer).ReadString('\n')
	if line != "ready\n" {
		_ = command.Wait()
		return id, fmt.Errorf("the node's first process failed (%w): see %s", err, logFile)
	}
	return id, command.Process.Release()
}

// Init is the first process of a node. It returns only when it fails.
func Init(socketDirectory string) error {
	goAhead, ready := os.NewFile(3, "go-ahead"), os.NewFile(4, "ready")
	if line, err := io.ReadAll(io.LimitReader(goAhead, 3)); err != nil || string(line) != "go\n" {
		return errors.New("whoever started this node is gone")
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, unix.SIGCHLD)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGTERM)
	if err := isolate(socketDirectory); err != nil {
		return err
	}
	if _, err := ready.WriteString("ready\n"); err != nil {
		return err
	}
	if err := errors.Join(ready.Close(), goAhead.Close()); err != nil {
		return err
	}
	for range signals {
		for {
			if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
	return nil
}

// isolate gives this mount namespace its own /proc, an empty /run but for the shared folder, and empty private
// directories; then it lets mounts propagate among the node's own containers, which the kubelet expects.
func isolate(socketDirectory string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts of the node cannot be made private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("no /proc for the node: %w", err)
	}
	shared, err := os.Open(socketDirectory)
	if err != nil {
		return err
	}
	defer func() { _ = shared.Close() }()
	for _, directory := range append([]string{"/run"}, PrivateDirectories...) {
		if err := unix.Mount("tmpfs", directory, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=256m"); err != nil {
			return fmt.Errorf("no private %s for the node: %w", directory, err)
		}
	}
	for _, directory := range []string{socketDirectory, "/run/netns", "/run/lock"} {
		if err := os.MkdirAll(directory, 0o755); err != nil {
			return err
		}
	}
	source := fmt.Sprintf("/proc/self/fd/%d", shared.Fd())
	if err := unix.Mount(source, socketDirectory, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("%s cannot be shared with the node: %w", socketDirectory, err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("mounts of the node cannot be shared with its containers: %w", err)
	}
	return nil
}

// Hidden reports the private directory that would cover `path`, if one does: a cluster's own folder must not lie there.
func Hidden(path string) (string, bool) {
	for _, directory := range append([]string{"/run", "/var/run"}, PrivateDirectories...) {
		if path == directory || strings.HasPrefix(filepath.Clean(path), directory+"/") {
			return directory, true
		}
	}
	return "", false
}
