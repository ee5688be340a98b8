package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// epoch is the time of every entry.
var epoch = time.Unix(0, 0).UTC()

// entry is one file, folder or link of the image.
type entry struct {
	kind byte
	mode int64
	// source is the file to copy, text what to write where there is none; link is where a symbolic link points.
	source, text, link string
}

// tree is the root file system, by cleaned path without the leading slash.
type tree map[string]entry

// base is in every image: names for the users, and places that programs expect.
func base() tree {
	t := tree{}
	t.add("/etc/passwd", entry{kind: tar.TypeReg, mode: 0o644, text: "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"})
	t.add("/etc/group", entry{kind: tar.TypeReg, mode: 0o644, text: "root:x:0:\nnonroot:x:65532:\n"})
	t.add("/etc/nsswitch.conf", entry{kind: tar.TypeReg, mode: 0o644, text: "passwd: files\ngroup: files\nhosts: files dns\n"})
	t.add("/home/nonroot", entry{kind: tar.TypeDir, mode: 0o755})
	t.add("/tmp", entry{kind: tar.TypeDir, mode: 0o1777})
	return t
}

// collect gathers everything that a description names. Later ones win: files over trees, for example.
func collect(spec Spec) (tree, error) {
	t := base()
	var programs []string
	for _, c := range slices.Concat(spec.Trees, spec.ProgramTrees) {
		if err := t.addTree(c, spec.Exclude); err != nil {
			return nil, err
		}
	}
	for _, c := range slices.Concat(spec.Programs, spec.Files) {
		if err := t.addFile(c.Source, c.Destination); err != nil {
			return nil, err
		}
	}
	for _, c := range spec.Programs {
		programs = append(programs, c.Source)
	}
	for _, c := range spec.ProgramTrees {
		found, err := t.elfFilesBelow(c.Destination)
		if err != nil {
			return nil, err
		}
		programs = append(programs, found...)
	}
	libraries, err := resolve(programs)
	if err != nil {
		return nil, err
	}
	for destination, source := range libraries {
		if _, there := t[key(destination)]; there {
			continue
		}
		if err := t.addFile(source, destination); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func key(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// add makes missing parents, too.
func (t tree) add(p string, e entry) {
	name := key(p)
	t[name] = e
	for parent := path.Dir(name); parent != "."; parent = path.Dir(parent) {
		if _, there := t[parent]; there {
			break
		}
		t[parent] = entry{kind: tar.TypeDir, mode: 0o755}
	}
}

// addFile copies what a path leads to. Only whether a file may be executed is kept of its mode.
func (t tree) addFile(source, destination string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", source)
	}
	t.add(destination, entry{kind: tar.TypeReg, mode: permissions(info), source: source})
	return nil
}

func permissions(info fs.FileInfo) int64 {
	if info.Mode()&0o111 != 0 {
		return 0o755
	}
	return 0o644
}

func (t tree) addTree(c Copy, exclude []string) error {
	root, err := filepath.EvalSymlinks(c.Source)
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		if excluded, err := matches(below, exclude); err != nil || excluded {
			if err == nil && d.IsDir() {
				return fs.SkipDir
			}
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		destination := path.Join(c.Destination, filepath.ToSlash(below))
		switch {
		case d.IsDir():
			t.add(destination, entry{kind: tar.TypeDir, mode: 0o755})
		case info.Mode().IsRegular():
			t.add(destination, entry{kind: tar.TypeReg, mode: permissions(info), source: p})
		case info.Mode()&fs.ModeSymlink != 0:
			link, err := os.Readlink(p)
			if err != nil {
				return err
			}
			t.add(destination, entry{kind: tar.TypeSymlink, mode: 0o777, link: link})
		default:
			return fmt.Errorf("%s is neither file, folder nor link", p)
		}
		return nil
	})
}

func matches(below string, patterns []string) (bool, error) {
	for _, pattern := range patterns {
		for _, candidate := range []string{filepath.Base(below), below} {
			if ok, err := path.Match(pattern, candidate); err != nil || ok && below != "." {
				return ok, err
			}
		}
	}
	return false, nil
}

// elfFilesBelow lists the programs and libraries that were added below a folder of the image.
func (t tree) elfFilesBelow(folder string) ([]string, error) {
	var found []string
	for name, e := range t {
		if e.kind != tar.TypeReg || e.source == "" || !strings.HasPrefix(name, key(folder)+"/") {
			continue
		}
		is, err := isELF(e.source)
		if err != nil {
			return nil, err
		}
		if is {
			found = append(found, e.source)
		}
	}
	return found, nil
}

// write writes the tar in the order of the paths: a folder comes before what is in it.
func (t tree) write(to io.Writer) error {
	names := make([]string, 0, len(t))
	for name := range t {
		if name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	archive := tar.NewWriter(to)
	for _, name := range names {
		if err := t[name].write(archive, name); err != nil {
			return fmt.Errorf("/%s: %w", name, err)
		}
	}
	return archive.Close()
}

func (e entry) write(archive *tar.Writer, name string) error {
	header := &tar.Header{Name: name, Typeflag: e.kind, Mode: e.mode, Linkname: e.link, ModTime: epoch}
	if e.kind == tar.TypeDir {
		header.Name += "/"
	}
	if e.kind != tar.TypeReg || e.source == "" {
		header.Size = int64(len(e.text))
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err := io.WriteString(archive, e.text)
		return err
	}
	file, err := os.Open(e.source)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	header.Size = info.Size()
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	written, err := io.Copy(archive, file)
	if err == nil && written != header.Size {
		err = errors.New("changed while it was read")
	}
	return err
}
