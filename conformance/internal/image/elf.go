package image

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// loaderConfiguration lists the folders that the dynamic loader of this machine searches, beside its built-in ones.
const loaderConfiguration = "/etc/ld.so.conf"

// isELF looks at a file's first bytes.
func isELF(file string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	magic := make([]byte, len(elf.ELFMAG))
	if _, err := io.ReadFull(f, magic); err != nil {
		return false, nil // shorter than the magic number
	}
	return string(magic) == elf.ELFMAG, nil
}

// object is what matters of a program or library.
type object struct {
	loader string
	needed []string
	// search are the folders that it names itself (DT_RUNPATH, or DT_RPATH of old), with $ORIGIN replaced.
	search  []string
	class   elf.Class
	machine elf.Machine
}

// resolve finds the shared libraries of programs, those of the libraries, and so on, and gives their places in the
// image: destination -> source.
//
// All go into the folder of the C library, which the loader searches without being told: image and machine then need
// neither the same search paths nor a cache. The loader itself keeps its path, which is part of each program.
func resolve(programs []string) (map[string]string, error) {
	found := map[string]string{}   // name of a library -> path on this machine
	loaders := map[string]string{} // path -> path
	type job struct {
		file      string
		inherited []string
	}
	var jobs []job
	for _, program := range programs {
		jobs = append(jobs, job{file: program})
	}
	system := systemFolders()
	for len(jobs) > 0 {
		current := jobs[0]
		jobs = jobs[1:]
		o, err := readELF(current.file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", current.file, err)
		}
		if o.loader != "" {
			loaders[o.loader] = o.loader
		}
		search := append(slices.Clone(o.search), current.inherited...)
		for _, name := range o.needed {
			if _, done := found[name]; done {
				continue
			}
			library, err := findLibrary(name, o, slices.Concat(search, system))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", current.file, err)
			}
			found[name] = library
			jobs = append(jobs, job{file: library, inherited: search})
		}
	}
	if len(found) == 0 {
		return loaders, nil
	}
	folder, err := cLibraryFolder(found)
	if err != nil {
		return nil, err
	}
	places := loaders
	for name, source := range found {
		if isLoader(name, loaders) {
			continue
		}
		places[path.Join(folder, name)] = source
	}
	return places, nil
}

// isLoader tells a library that is the loader itself, which some libraries name as needed.
func isLoader(name string, loaders map[string]string) bool {
	for loader := range loaders {
		if path.Base(loader) == name {
			return true
		}
	}
	return false
}

// cLibraryFolder is where this machine keeps the C library: one of the folders built into its loader.
func cLibraryFolder(found map[string]string) (string, error) {
	for _, name := range []string{"libc.so.6", "libc.so"} {
		if library, ok := found[name]; ok {
			return filepath.Dir(library), nil
		}
	}
	for name := range found {
		if strings.HasPrefix(name, "libc.musl") {
			return filepath.Dir(found[name]), nil
		}
	}
	return "", errors.New("the libraries do not include a C library")
}

func readELF(file string) (*object, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	o := &object{class: f.Class, machine: f.Machine}
	for _, segment := range f.Progs {
		if segment.Type == elf.PT_INTERP {
			text, err := io.ReadAll(io.LimitReader(segment.Open(), 4096))
			if err != nil {
				return nil, err
			}
			o.loader = strings.TrimRight(string(text), "\x00")
		}
	}
	if f.SectionByType(elf.SHT_DYNAMIC) == nil {
		return o, nil // statically linked
	}
	if o.needed, err = f.ImportedLibraries(); err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return nil, err
	}
	origin, err := filepath.Abs(filepath.Dir(real))
	if err != nil {
		return nil, err
	}
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		values, err := f.DynString(tag)
		if err != nil {
			return nil, err
		}
		for _, value := range values {
			for _, folder := range strings.Split(value, ":") {
				o.search = append(o.search, strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin).Replace(folder))
			}
		}
	}
	return o, nil
}

// findLibrary takes the first file of that name made for the same kind of processor.
func findLibrary(name string, by *object, folders []string) (string, error) {
	if strings.Contains(name, "/") {
		folders, name = []string{path.Dir(name)}, path.Base(name)
	}
	for _, folder := range folders {
		candidate := filepath.Join(folder, name)
		f, err := elf.Open(candidate)
		if err != nil {
			continue
		}
		fits := f.Class == by.class && f.Machine == by.machine
		if err := f.Close(); err != nil {
			return "", err
		}
		if fits {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("needs the library %s, which is in none of %s", name, strings.Join(folders, ", "))
}

// systemFolders are those of the loader's configuration, then the built-in ones, with Debian's folder per architecture.
func systemFolders() []string {
	folders := readLoaderConfiguration(loaderConfiguration, 0)
	for _, pattern := range []string{"/lib/*-linux-gnu*", "/usr/lib/*-linux-gnu*", "/lib64", "/usr/lib64", "/lib", "/usr/lib"} {
		matches, err := filepath.Glob(pattern)
		if err == nil {
			folders = append(folders, matches...)
		}
	}
	return folders
}

// readLoaderConfiguration follows include lines, to a depth that no sane machine reaches.
func readLoaderConfiguration(file string, depth int) []string {
	f, err := os.Open(file)
	if err != nil || depth > 8 {
		return nil
	}
	defer func() { _ = f.Close() }()
	var folders []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "include":
			pattern := fields[1]
			if !filepath.IsAbs(pattern) {
				pattern = filepath.Join(filepath.Dir(file), pattern)
			}
			included, _ := filepath.Glob(pattern)
			for _, other := range included {
				folders = append(folders, readLoaderConfiguration(other, depth+1)...)
			}
		case len(fields) == 1 && filepath.IsAbs(fields[0]):
			folders = append(folders, fields[0])
		}
	}
	return folders
}
