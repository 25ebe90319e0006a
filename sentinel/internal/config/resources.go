package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"syscall"
)

// resource is something outside the configuration that it depends on. Resources are looked at last,
// when the working directory is known.
type resource struct {
	pos   Pos
	path  string
	check func(dir string) error
	reads []string
}

// needs registers a check of the file a setting names, unless there is none. dir is where relative
// names start. reads are the files whose content is part of what the configuration means.
func (b *block) needs(name, file string, check func(dir string) error, reads ...string) {
	if file != "" {
		b.r.needed = append(b.r.needed, resource{b.at(name), b.pathOf(name), check, reads})
	}
}

func (r *reader) checkResources(dir string) {
	if r.options.Resources == ResourcesOff {
		return
	}
	for _, n := range r.needed {
		for _, file := range n.reads {
			if file != "" {
				r.options.Visit(resolve(dir, file))
			}
		}
		err := n.check(dir)
		if err == nil {
			continue
		}
		p := Problem{Pos: n.pos, Path: n.path, Found: err.Error()}
		if later := (notYet{}); errors.As(err, &later) || r.options.Resources == ResourceWarnings {
			p.Severity = Warning
		}
		r.report(p)
	}
}

// notYet is what is wrong with a resource that may still come while the proxy runs: a warning in any case.
type notYet struct{ error }

// maxResource bounds a certificate, key or template.
const maxResource = 4 << 20

// readResource reads a regular file; anything else, a pipe for one, could hang.
func readResource(dir, name string) ([]byte, error) {
	path := resolve(dir, name)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read %s: %s", path, reason(err))
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("cannot read %s: %w", path, errNotRegular)
	case info.Size() > maxResource:
		return nil, fmt.Errorf("cannot read %s: more than 4 MiB", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %s", path, reason(err))
	}
	return text, nil
}

func resolve(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// keyPair checks a certificate and its key, reported at the certificate.
func keyPair(certFile, keyFile string) func(string) error {
	return func(dir string) error {
		if keyFile == "" {
			return nil // reported already
		}
		cert, err := readResource(dir, certFile)
		if err != nil {
			return err
		}
		key, err := readResource(dir, keyFile)
		if err != nil {
			return err
		}
		if _, err := tls.X509KeyPair(cert, key); err != nil {
			return fmt.Errorf("the certificate in %s and the key in %s cannot be used: %w", certFile, keyFile, err)
		}
		return nil
	}
}

func authorities(file string) func(string) error {
	return func(dir string) error {
		text, err := readResource(dir, file)
		if err == nil && !x509.NewCertPool().AppendCertsFromPEM(text) {
			err = fmt.Errorf("%s holds no PEM certificate", file)
		}
		return err
	}
}

func readable(file string) func(string) error {
	return func(dir string) error {
		_, err := readResource(dir, file)
		return err
	}
}

func directory(name string) func(string) error {
	return func(dir string) error { return isDirectory(resolve(dir, name)) }
}

func isDirectory(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("directory %s: %w", path, bare(err))
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", path)
	}
	return nil
}

// socket checks an agent's path. The agent may start later, so the socket may be missing, or not ours to
// connect to yet. Its directory may not be missing, and what exists has to be a socket.
func socket(name string) func(string) error {
	const w = 2 // access(2); connect(2) asks for it
	return func(dir string) error {
		path := resolve(dir, name)
		if err := isDirectory(filepath.Dir(path)); errors.Is(err, os.ErrPermission) {
			return notYet{err}
		} else if err != nil {
			return err
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return notYet{fmt.Errorf("socket %s: %s; until the agent listens there, its failure mode decides", path, reason(err))}
		case info.Mode().Type() != os.ModeSocket:
			return fmt.Errorf("%s is %s, not a socket", path, kindOf(info.Mode()))
		}
		if err := syscall.Access(path, w); err != nil {
			return notYet{fmt.Errorf("socket %s: %w; while that is so, the agent's failure mode decides", path, err)}
		}
		return nil
	}
}

// ownSocket checks a path at which the proxy is to listen: there may be nothing or a socket, in a directory where it may
// make one.
func ownSocket(name string) func(string) error {
	const w, x = 2, 1 // access(2)
	return func(dir string) error {
		path := resolve(dir, name)
		parent := filepath.Dir(path)
		if err := isDirectory(parent); err != nil {
			return err
		}
		if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
			return fmt.Errorf("%s is %s, not a socket", path, kindOf(info.Mode()))
		}
		if err := syscall.Access(parent, w|x); err != nil {
			return fmt.Errorf("cannot make a socket in %s: %w", parent, err)
		}
		return nil
	}
}

// kindOf names what a file is.
func kindOf(m os.FileMode) string {
	switch {
	case m.IsRegular():
		return "a regular file"
	case m.IsDir():
		return "a directory"
	case m&os.ModeNamedPipe != 0:
		return "a named pipe"
	case m&os.ModeDevice != 0:
		return "a device"
	}
	return "a special file"
}

// writable checks a log file without creating it.
func writable(name string) func(string) error {
	const w, x = 2, 1 // access(2)
	return func(dir string) error {
		path := resolve(dir, name)
		err := syscall.Access(path, w)
		if errors.Is(err, os.ErrNotExist) {
			err = syscall.Access(filepath.Dir(path), w|x)
		}
		if err != nil {
			return fmt.Errorf("cannot write %s: %w", path, err)
		}
		return nil
	}
}

func account(name string) func(string) error {
	return func(string) error {
		_, err := user.Lookup(name)
		return err
	}
}

func group(name string) func(string) error {
	return func(string) error {
		_, err := user.LookupGroup(name)
		return err
	}
}
