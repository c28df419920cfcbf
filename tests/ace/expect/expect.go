// SPDX-License-Identifier: Apache-2.0

// Package expect holds what the images of the validator ask for and what the
// validator therefore has to find: each value is written once.
package expect

// The apps, their marker files and the program.
const (
	Program        = "/bin/ace"
	Main           = "main"
	Sidekick       = "sidekick"
	MainMarker     = "/ace-main"
	SidekickMarker = "/ace-sidekick"
	Isolated       = "isolated"
)

// Roles of the program: its first argument.
const (
	RoleMain      = Main
	RoleSidekick  = Sidekick
	RolePreStart  = "pre-start"
	RolePostStop  = "post-stop"
	RoleIsolator  = "isolator" // the second argument is the check
	RoleReadOnly  = "read-only-root"
	RoleCleanCopy = "clean-copy"
	RoleEnter     = "enter"
	RoleMetadata  = "metadata"
	RoleExit      = "exit"   // with a status
	RoleSignal    = "signal" // by a signal
	RoleWait      = "wait"   // says ready and lets itself be stopped
	RoleEat       = "eat"    // a quarter of a GiB of memory
	RoleList      = "list"   // the names of a role's checks
)

// The user of main. Its primary group is not that of passwd.
const (
	User      = "ace"
	UID       = 1100
	Group     = "crew"
	GID       = 1300
	Home      = "/var/ace"
	Shell     = "/bin/ace-shell"
	Passwd    = "root:x:0:0:root:/root:/bin/sh\nace:x:1100:1101:The Ace:/var/ace:/bin/ace-shell\n"
	GroupFile = "root:x:0:\nace:x:1101:\ncrew:x:1300:\nextra:x:77:ace\n" // extra must not count
)

// SupplementaryGIDs are those of main.
func SupplementaryGIDs() []int { return []int{400, 500, 1200} }

// Directories and files.
const (
	MainDir     = "/var/ace/work" // working directory of main
	SidekickBin = "/opt/ace/bin"  // in the PATH of sidekick's image
	RO          = "/ace/ro"       // host volume, read-only by the volume
	RW          = "/ace/rw"       // host volume
	Masked      = "/ace/masked"   // read-only by the mount point; the image has files there
	MaskedFile  = Masked + "/of-the-image"
	SharedMain  = "/ace/shared"       // the empty volume in main
	SharedSide  = "/srv/from-main/in" // the same in sidekick; not in the image
	OneFile     = "/etc/ace-one-file" // a volume of one file
	Implicit    = "/ace/implicit"     // mount point without a volume

	HostFile     = "from-host"
	HostContent  = "content of the host\n"
	OrderFile    = RW + "/order"
	AloneFile    = RW + "/alone" // there is no sidekick in this pod
	WrittenFile  = "written-by-main"
	SharedMode   = 0o751
	SharedUID    = 1100
	SharedGID    = 1234
	Hostname     = "ace-host-1"
	Nameserver   = "192.0.2.53"
	HostsName    = "ace.example.com"
	HostsAddress = "192.0.2.7"
)

// Ports on loopback.
const (
	SidekickPort = 24201
)

// ShmKey is the System V key that main makes and sidekick looks for.
const ShmKey = 0x41434531

// MainArgs are the arguments of main: none may be changed on the way.
func MainArgs() []string {
	return []string{
		RoleMain, "two words", "", "line\nend", "'single'", `"double"`, "$HOME ${HOME} $$ $(id)", "%n %i %% %h", `back\slash \n \\`,
		"tab\there", "; touch /ace-injected", "trailing ", " leading", "ünïcödé ☃", "--", "---", "-", "@at", "!bang", "#hash", "a=b", "*", "`id`", "|", "&",
	}
}

// Env are variables of main's image that have to arrive byte for byte.
func Env() map[string]string {
	return map[string]string{
		"ACE_PLAIN":     "plain",
		"ACE_EMPTY":     "",
		"ACE_BLANKS":    "  blanks around  ",
		"ACE_NEWLINE":   "two\nlines\n",
		"ACE_QUOTES":    `'single' "double" `,
		"ACE_BACKSLASH": `\ \n \\ \"`,
		"ACE_HASH":      "#not a comment",
		"ACE_SEMICOLON": ";not a comment",
		"ACE_DOLLAR":    "$HOME ${HOME} $$",
		"ACE_PERCENT":   "%n %i %% %h",
		"ACE_TAB":       "\ttab\t",
		"ACE_UNICODE":   "ünïcödé ☃",
		"ACE_EQUALS":    "a=b=c",
	}
}

// Leaked is a variable of the caller that no app may see.
const Leaked = "ACE_OF_THE_CALLER"

// SidekickPath is the PATH of sidekick's image.
const SidekickPath = SidekickBin + ":/bin"

// DefaultPath is what the specification gives an app without a PATH.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// DefaultCaps is the bounding set of an app without a capability isolator: the
// 14 of the specification, by number.
func DefaultCaps() []int {
	return []int{0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}
}

// Mask is a set of capabilities as the kernel shows it.
func Mask(caps []int) uint64 {
	var m uint64
	for _, c := range caps {
		m |= 1 << c
	}
	return m
}
