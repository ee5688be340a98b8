package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"agentgateway/conformance/internal/image"
)

// makeImage describes an image by flags. A flag that adds something may come several times.
func makeImage(_ context.Context, arguments []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	var spec image.Spec
	names := flags.String("name", "", "NAME[,NAME...]: names with tags")
	out := flags.String("o", "", "OUT.tar: the archive to write")
	flags.StringVar(&spec.User, "user", image.DefaultUser, "UID:GID that containers run as")
	flags.StringVar(&spec.WorkingDirectory, "workdir", "/", "working directory")
	appendTo := func(list *[]string) func(string) error {
		return func(word string) error {
			*list = append(*list, word)
			return nil
		}
	}
	flags.Func("entrypoint", "WORD: a word of the entry point", appendTo(&spec.Entrypoint))
	flags.Func("cmd", "WORD: a word of the default arguments", appendTo(&spec.Command))
	flags.Func("env", "NAME=VALUE: an environment variable", func(text string) error {
		if name, _, ok := strings.Cut(text, "="); !ok || name == "" {
			return errors.New("not of the form NAME=VALUE")
		}
		spec.Environment = append(spec.Environment, text)
		return nil
	})
	flags.Func("exclude", "PATTERN: leave out files and folders of trees whose name or path below the tree matches", appendTo(&spec.Exclude))
	for name, list := range map[string]*[]image.Copy{"file": &spec.Files, "tree": &spec.Trees, "elf": &spec.Programs, "elf-tree": &spec.ProgramTrees} {
		flags.Func(name, copyHelp[name], func(text string) error {
			source, destination, ok := strings.Cut(text, "=")
			if !ok || source == "" || !strings.HasPrefix(destination, "/") {
				return errors.New("not of the form SOURCE=/DESTINATION")
			}
			*list = append(*list, image.Copy{Source: source, Destination: destination})
			return nil
		})
	}
	words, err := parse(flags, arguments, 0, 0)
	if err != nil {
		return err
	}
	if len(words) > 0 || *names == "" || *out == "" {
		return errors.New("image: --name and -o are needed, and no words beside flags")
	}
	spec.Names = strings.Split(*names, ",")
	size, err := image.Write(*out, spec)
	if err != nil {
		return fmt.Errorf("image %s: %w", spec.Names[0], err)
	}
	fmt.Fprintf(os.Stdout, "%s: %s, %.1f MB\n", *out, *names, float64(size)/1e6)
	return nil
}

var copyHelp = map[string]string{
	"file":     "SOURCE=/DESTINATION: a file, links followed",
	"tree":     "SOURCE=/DESTINATION: a folder with all below it, links kept",
	"elf":      "SOURCE=/DESTINATION: a program with its loader and shared libraries",
	"elf-tree": "SOURCE=/DESTINATION: a folder, and the libraries of every program and library in it",
}
