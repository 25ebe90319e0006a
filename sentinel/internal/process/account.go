package process

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
)

// account is whom the process becomes.
type account struct {
	uid, gid int
	groups   []int
}

// lookup finds a user, with all groups, and a group that replaces the user's first one. Either may be empty.
func lookup(userName, groupName string) (a account, err error) {
	a = account{uid: os.Getuid(), gid: os.Getgid()}
	if userName != "" {
		u, err := user.Lookup(userName)
		if err != nil {
			return a, err //nolint:wrapcheck // it names the user
		}
		ids, err := u.GroupIds()
		if err != nil {
			return a, fmt.Errorf("groups of user %s: %w", userName, err)
		}
		a.uid, a.gid = number(u.Uid), number(u.Gid)
		for _, id := range ids {
			a.groups = append(a.groups, number(id))
		}
	}
	if groupName != "" {
		g, err := user.LookupGroup(groupName)
		if err != nil {
			return a, err //nolint:wrapcheck // it names the group
		}
		a.gid = number(g.Gid)
	}
	if !slices.Contains(a.groups, a.gid) {
		a.groups = append(a.groups, a.gid)
	}
	return a, nil
}

// number is an id of the account database, which has numbers only here.
func number(id string) int {
	n, err := strconv.Atoi(id)
	if err != nil {
		return -1 // no call accepts it
	}
	return n
}

var errStillRoot = errors.New("root's rights could be had back")

// assume makes the whole process, every thread of it, run as the account, for good. Nothing is done when it does.
func (a *account) assume() error {
	if os.Getuid() == a.uid && os.Geteuid() == a.uid && os.Getgid() == a.gid && os.Getegid() == a.gid {
		return nil
	}
	for _, step := range []struct {
		name string
		call func() error
	}{
		{"setgroups", func() error { return syscall.Setgroups(a.groups) }},
		{"setresgid", func() error { return syscall.Setresgid(a.gid, a.gid, a.gid) }},
		{"setresuid", func() error { return syscall.Setresuid(a.uid, a.uid, a.uid) }},
	} {
		if err := step.call(); err != nil {
			return fmt.Errorf("becoming uid %d, gid %d: %s: %w", a.uid, a.gid, step.name, err)
		}
	}
	if a.uid != 0 && syscall.Setuid(0) == nil {
		return errStillRoot
	}
	return nil
}
