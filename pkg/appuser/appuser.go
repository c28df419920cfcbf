// SPDX-License-Identifier: Apache-2.0

package appuser

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/inroot"
)

// MaxFile is the largest passwd or group file that is read.
const MaxFile = 16 << 20

// maxID is the largest user or group ID: 2^32-1 means "no change" to the kernel.
const maxID = math.MaxUint32 - 1

// Errors that callers test for.
var (
	ErrUserNotFound  = errors.New("user not found")
	ErrGroupNotFound = errors.New("group not found")
	ErrRange         = errors.New("ID is out of range")
)

// Request is what a manifest says about the identity of an app.
type Request struct {
	User, Group       string
	SupplementaryGIDs []int
	// ImageUser is the user field of the image if the image was converted from
	// docker and the group was not overridden, else empty: such an image
	// names its user as group even where no such group exists.
	ImageUser string
	// Shift and Count are the user namespace of the pod: container ID n is
	// host ID Shift+n, below Count. A zero Count means no user namespace.
	Shift, Count uint32
}

// IDs is the identity of an app.
type IDs struct {
	UID, GID int
	Groups   []int // supplementary
	Account  Account
}

// Account is what the passwd file says about the user, for environment
// defaults. It is filled in for every user (see account).
type Account struct {
	Name, Home, Shell string
}

// Resolve decides the identity. User and group are resolved alone, by the
// first form that fits: "root", number, path whose owner counts, name.
func Resolve(root *inroot.Root, q Request) (IDs, error) {
	var ids IDs
	var err error
	if ids.UID, err = user(root, q); err != nil {
		return IDs{}, err
	}
	if ids.GID, err = group(root, q); err != nil {
		if q.ImageUser == "" || q.Group != q.ImageUser || !errors.Is(err, ErrGroupNotFound) {
			return IDs{}, err
		}
		ids.GID = ids.UID
	}
	for _, g := range q.SupplementaryGIDs {
		if g < 0 || int64(g) > maxID {
			return IDs{}, fmt.Errorf("supplementary group %d: %w", g, ErrRange)
		}
	}
	ids.Groups = q.SupplementaryGIDs
	ids.Account = account(root, ids.UID)
	return ids, nil
}

func user(root *inroot.Root, q Request) (int, error) {
	if id, ok, err := common(root, q, "user", q.User); ok {
		return id, err
	}
	e, err := find(root, passwdFile, func(e entry) bool { return e.name == q.User })
	if err != nil {
		return 0, fmt.Errorf("%q %w: %w", q.User, ErrUserNotFound, err)
	}
	if e == nil {
		return 0, fmt.Errorf("%q %w", q.User, ErrUserNotFound)
	}
	return e.id, nil
}

func group(root *inroot.Root, q Request) (int, error) {
	if id, ok, err := common(root, q, "group", q.Group); ok {
		return id, err
	}
	e, err := find(root, groupFile, func(e entry) bool { return e.name == q.Group })
	if err != nil {
		return 0, fmt.Errorf("%q %w: %w", q.Group, ErrGroupNotFound, err)
	}
	if e == nil {
		return 0, fmt.Errorf("%q %w", q.Group, ErrGroupNotFound)
	}
	return e.id, nil
}

// common handles the forms that users and groups share; ok tells whether s is
// of one of them.
func common(root *inroot.Root, q Request, kind, s string) (id int, ok bool, err error) {
	switch {
	case s == "":
		return 0, true, fmt.Errorf("%s is required", kind)
	case s == "root":
		return 0, true, nil
	case isNumber(s):
		id, err = parseID(s)
		if err != nil {
			return 0, true, fmt.Errorf("%s %q: %w", kind, s, err)
		}
		return id, true, nil
	case strings.HasPrefix(s, "/"):
		id, err = owner(root, q, kind, s)
		if err != nil {
			return 0, true, fmt.Errorf("%s %q: %w", kind, s, err)
		}
		return id, true, nil
	}
	return 0, false, nil
}

// isNumber tells whether s was meant as a number: digits, perhaps with a sign.
func isNumber(s string) bool {
	if s[0] == '+' || s[0] == '-' {
		s = s[1:]
	}
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func parseID(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > maxID {
		return 0, ErrRange
	}
	return int(n), nil
}

// owner is the owner or group of a path in the root; the last link is not
// followed. In a user namespace the tree on disk is shifted.
func owner(root *inroot.Root, q Request, kind, name string) (int, error) {
	st, err := root.Lstat(name)
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) { // the caller quotes the path
			err = p.Err
		}
		return 0, err
	}
	id := st.Uid
	if kind == "group" {
		id = st.Gid
	}
	if q.Count == 0 {
		return int(id), nil
	}
	if id < q.Shift || id-q.Shift >= q.Count {
		return 0, fmt.Errorf("owner %d: %w", id, ErrRange)
	}
	return int(id - q.Shift), nil
}

// account describes the user of a UID. Without an entry, root is what every
// program expects it to be; another user is its number, at home in "/".
func account(root *inroot.Root, uid int) Account {
	a := Account{Name: strconv.Itoa(uid), Home: "/"}
	if uid == 0 {
		a = Account{Name: "root", Home: "/root"}
	}
	// An unreadable file is no reason to refuse a numeric user.
	e, err := find(root, passwdFile, func(e entry) bool { return e.id == uid })
	if err == nil && e != nil {
		a.Name = e.name
		if strings.HasPrefix(e.home, "/") {
			a.Home = e.home
		}
		a.Shell = e.shell
	}
	if !strings.HasPrefix(a.Shell, "/") {
		a.Shell = "/bin/sh"
	}
	return a
}

// file describes one of the two files.
type file struct {
	path  string
	home  int // field numbers, 0 if there is none
	shell int
}

var (
	passwdFile = file{path: "/etc/passwd", home: 5, shell: 6}
	groupFile  = file{path: "/etc/group"}
)

type entry struct {
	name        string
	id          int
	home, shell string
}

// find returns the first entry that matches, nil if there is none. A missing
// file is an error that wraps fs.ErrNotExist.
func find(root *inroot.Root, f file, match func(entry) bool) (*entry, error) {
	data, err := root.ReadFile(f.path, MaxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", f.path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		if e, ok := f.parse(strings.TrimRight(line, "\n")); ok && match(e) {
			return &e, nil
		}
	}
	return nil, nil
}

// parse reads name:password:ID:…; ok is false for a line that is not so.
func (f file) parse(line string) (e entry, ok bool) {
	fields := strings.Split(line, ":")
	if len(fields) < 3 || fields[0] == "" {
		return entry{}, false
	}
	id, err := parseID(fields[2])
	if err != nil {
		return entry{}, false
	}
	e = entry{name: fields[0], id: id}
	if f.home != 0 && len(fields) > f.shell {
		e.home, e.shell = fields[f.home], fields[f.shell]
	}
	return e, true
}
