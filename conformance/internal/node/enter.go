package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"agentgateway/conformance/internal/process"
)

// StartCommand is the first argument with which this program starts itself inside a node to leave a daemon there.
const StartCommand = "node-start"

// Inside runs `work` on a thread that is in the node's namespaces. Processes that `work` starts and sockets that it
// opens belong to the node. The thread ends with it.
//
// The pid namespace of a thread holds for its children only, as for every process that joins one.
func Inside(node process.ID, work func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime throws the thread away
		result <- func() error {
			if err := enter(node); err != nil {
				return fmt.Errorf("the node's namespaces cannot be entered: %w", err)
			}
			return work()
		}()
	}()
	return <-result
}

func enter(node process.ID) error {
	var spaces []*os.File
	defer func() {
		for _, space := range spaces {
			_ = space.Close()
		}
	}()
	for _, kind := range []string{"net", "pid", "mnt"} {
		space, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", node.PID, kind))
		if err != nil {
			return err
		}
		spaces = append(spaces, space)
	}
	if !node.Alive() {
		return errors.New("its first process is gone")
	}
	// Threads share root and working directory, and a thread that does may not change its mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	for _, space := range spaces {
		if err := unix.Setns(int(space.Fd()), 0); err != nil {
			return fmt.Errorf("%s: %w", space.Name(), err)
		}
	}
	return nil
}

// Run runs one command inside the node to its end.
func Run(node process.ID, stdin io.Reader, stdout, stderr io.Writer, command ...string) error {
	return Inside(node, func() error {
		c := exec.Command(command[0], command[1:]...)
		c.Stdin, c.Stdout, c.Stderr = stdin, stdout, stderr
		c.Dir = "/"
		return c.Run()
	})
}

// Daemon starts a program inside the node, as a child of the node's first process, and returns its ID on the host.
func Daemon(node process.ID, logFile string, command ...string) (process.ID, error) {
	self, err := os.Executable()
	if err != nil {
		return process.ID{}, err
	}
	var stdout, stderr bytes.Buffer
	arguments := append([]string{self, StartCommand, logFile}, command...)
	if err := Run(node, nil, &stdout, &stderr, arguments...); err != nil {
		return process.ID{}, fmt.Errorf("%s does not start: %w: %s", filepath.Base(command[0]), err, strings.TrimSpace(stderr.String()))
	}
	inner, err := strconv.Atoi(strings.TrimSpace(stdout.String()))
	if err != nil {
		return process.ID{}, err
	}
	return find(node, inner)
}

// LeaveDaemon is the inner half of Daemon: it starts the program, prints its pid as the node sees it, and returns, so
// that the program becomes an orphan and the node's first process its parent and reaper.
func LeaveDaemon(logFile string, command []string) error {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	c := exec.Command(command[0], command[1:]...)
	c.Stdout, c.Stderr = log, log
	c.Dir = "/"
	c.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return err
	}
	_, err = fmt.Println(c.Process.Pid)
	return err
}

// find looks for the process that the node knows by the pid `inner`: the pid in the innermost namespace is the last
// one of the line NSpid in /proc/PID/status.
func find(node process.ID, inner int) (process.ID, error) {
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", node.PID))
	if err != nil {
		return process.ID{}, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return process.ID{}, err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if other, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid)); err != nil || other != space {
			continue
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err == nil && innermostPID(string(status)) == inner {
			return process.Of(pid)
		}
	}
	return process.ID{}, errors.New("it ended at once")
}

func innermostPID(status string) int {
	for line := range strings.Lines(status) {
		if pids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(pids)
			if len(fields) > 1 {
				pid, _ := strconv.Atoi(fields[len(fields)-1])
				return pid
			}
		}
	}
	return 0
}
