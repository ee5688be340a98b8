package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"agentgateway/conformance/internal/node"
)

// programs that a cluster calls, and the Debian packages that bring them.
var (
	controlPlanePrograms = map[string]string{"ip": "iproute2"}
	nodePrograms         = map[string]string{
		"containerd": "containerd", "containerd-shim-runc-v2": "containerd", "ctr": "containerd", "runc": "runc",
		"iptables": "iptables", "nft": "nftables", "mount": "mount",
	}
	plugins = []string{"bridge", "host-local", "loopback", "portmap"}
	// pluginDirectories are Debian's folder and that of the plugins' own releases.
	pluginDirectories = []string{"/usr/lib/cni", "/opt/cni/bin"}
)

// pluginPackage brings the CNI plugins.
const pluginPackage = "containernetworking-plugins"

// preflight says everything that is missing at once, with the command that installs it.
func preflight(c *Cluster) error {
	var problems []error
	if runtime.GOOS != "linux" {
		return errors.New("a test cluster needs Linux")
	}
	if os.Geteuid() != 0 {
		return errors.New("a test cluster needs root: it makes namespaces, a bridge and cgroups")
	}
	if err := sbinInPath(); err != nil {
		return err
	}
	needed := []map[string]string{controlPlanePrograms}
	if !c.ControlPlaneOnly {
		needed = append(needed, nodePrograms)
	}
	var missing, packages []string
	for _, group := range needed {
		for program, pkg := range group {
			if _, err := exec.LookPath(program); err != nil {
				missing, packages = append(missing, program), append(packages, pkg)
			}
		}
	}
	if !c.ControlPlaneOnly && pluginDirectory() == "" {
		missing, packages = append(missing, "the CNI plugins "+strings.Join(plugins, ", ")), append(packages, pluginPackage)
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		slices.Sort(packages)
		problems = append(problems, fmt.Errorf("missing: %s\n  apt-get install -y --no-install-recommends %s",
			strings.Join(missing, ", "), strings.Join(slices.Compact(packages), " ")))
	}
	files := []string{c.binary("kube")}
	if !c.ControlPlaneOnly {
		files = append(files, c.pauseArchive())
	}
	for _, file := range files {
		if _, err := os.Stat(file); err != nil {
			problems = append(problems, fmt.Errorf("%s is not there: run conformance/build.sh", file))
		}
	}
	if directory, hidden := node.Hidden(c.Directory()); hidden {
		problems = append(problems, fmt.Errorf("the project lies below %s, of which each node has its own: move it elsewhere", directory))
	}
	return errors.Join(problems...)
}

// sbinInPath adds the folders of administration programs, which a plain `su` or cron leaves out.
func sbinInPath() error {
	path := os.Getenv("PATH")
	for _, directory := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if !slices.Contains(filepath.SplitList(path), directory) {
			path += ":" + directory
		}
	}
	return os.Setenv("PATH", path)
}

// pluginDirectory is the first folder that has all plugins, or "".
func pluginDirectory() string {
	for _, directory := range pluginDirectories {
		if !slices.ContainsFunc(plugins, func(plugin string) bool {
			_, err := os.Stat(filepath.Join(directory, plugin))
			return err != nil
		}) {
			return directory
		}
	}
	return ""
}
