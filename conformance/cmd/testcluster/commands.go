package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"agentgateway/conformance/internal/cluster"
	"agentgateway/conformance/internal/node"
)

func up(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	controlPlaneOnly := flags.Bool("control-plane-only", false, "objects only: no container runtime, no pods")
	timeout := flags.Duration("timeout", 3*time.Minute, "give up after this long")
	names, err := parse(flags, arguments, 1, 1)
	if err != nil {
		return err
	}
	build, err := cluster.BuildDirectory()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	begin := time.Now()
	c, err := cluster.Up(ctx, names[0], build, cluster.Options{
		ControlPlaneOnly: *controlPlaneOnly,
		Progress: func(format string, arguments ...any) {
			fmt.Printf("%6.1f s  %s: %s\n", time.Since(begin).Seconds(), names[0], fmt.Sprintf(format, arguments...))
		},
	})
	if err != nil {
		return err
	}
	fmt.Println("KUBECONFIG=" + c.Kubeconfig())
	return nil
}

func down(_ context.Context, arguments []string) error {
	flags := flag.NewFlagSet("down", flag.ContinueOnError)
	everyone := flags.Bool("all", false, "every cluster of this machine")
	names, err := parse(flags, arguments, 0, -1)
	if err != nil {
		return err
	}
	switch {
	case *everyone && len(names) > 0:
		return errUsage
	case *everyone:
		all, err := cluster.All()
		if err != nil {
			return err
		}
		for _, c := range all {
			names = append(names, c.Name)
		}
	case len(names) == 0:
		return errUsage
	}
	var problems []error
	for _, name := range names {
		problems = append(problems, cluster.Down(name))
	}
	return errors.Join(problems...)
}

func list(_ context.Context, arguments []string) error {
	if _, err := parse(flag.NewFlagSet("list", flag.ContinueOnError), arguments, 0, 0); err != nil {
		return err
	}
	all, err := cluster.All()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tNODE\tPODS\tLOADBALANCERS\tSTATE\tKUBECONFIG")
	for _, c := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Name, c.NodeAddress(), c.PodNetwork(), c.LoadBalancerRange(), c.State(), c.Kubeconfig())
	}
	return table.Flush()
}

func kubeconfig(_ context.Context, arguments []string) error {
	c, _, err := open("kubeconfig", arguments, 1, 1)
	if err != nil {
		return err
	}
	fmt.Println(c.Kubeconfig())
	return nil
}

func load(ctx context.Context, arguments []string) error {
	c, archives, err := open("load", arguments, 2, -1)
	if err != nil {
		return err
	}
	names, err := c.Load(ctx, archives...)
	for _, name := range names {
		fmt.Println(name)
	}
	return err
}

func images(ctx context.Context, arguments []string) error {
	c, _, err := open("images", arguments, 1, 1)
	if err != nil {
		return err
	}
	names, err := c.ImageNames(ctx)
	for _, name := range names {
		fmt.Println(name)
	}
	return err
}

func logs(_ context.Context, arguments []string) error {
	c, rest, err := open("logs", arguments, 2, 2)
	if err != nil {
		return err
	}
	if _, ok := c.Components[rest[0]]; !ok && rest[0] != "node" {
		return fmt.Errorf("cluster %s has no %q", c.Name, rest[0])
	}
	file, err := os.Open(c.LogFile(rest[0]))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	_, err = io.Copy(os.Stdout, file)
	return err
}

func stop(_ context.Context, arguments []string) error {
	c, rest, err := open("stop", arguments, 2, 2)
	if err != nil {
		return err
	}
	return c.Stop(rest[0])
}

func killContainer(ctx context.Context, arguments []string) error {
	c, rest, err := open("kill", arguments, 4, 4)
	if err != nil {
		return err
	}
	return c.KillContainer(ctx, rest[0], rest[1], rest[2])
}

func execute(_ context.Context, arguments []string) error {
	if len(arguments) < 2 {
		return errUsage
	}
	c, err := cluster.Open(arguments[0])
	if err != nil {
		return err
	}
	return node.Run(c.Node, os.Stdin, os.Stdout, os.Stderr, arguments[1:]...)
}

// open parses arguments whose first one names a cluster.
func open(command string, arguments []string, least, most int) (*cluster.Cluster, []string, error) {
	words, err := parse(flag.NewFlagSet(command, flag.ContinueOnError), arguments, least, most)
	if err != nil {
		return nil, nil, err
	}
	c, err := cluster.Open(words[0])
	return c, words[1:], err
}

// errUsage stands for arguments that do not fit; dispatch says which ones do.
var errUsage = errors.New("wrong arguments")

// parse takes flags before, between and after the words, and checks the number of words (most: -1 for any).
func parse(flags *flag.FlagSet, arguments []string, least, most int) ([]string, error) {
	var words []string
	for {
		if err := flags.Parse(arguments); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			break
		}
		words, arguments = append(words, flags.Arg(0)), flags.Args()[1:]
	}
	if len(words) < least || most >= 0 && len(words) > most {
		return nil, errUsage
	}
	return words, nil
}
