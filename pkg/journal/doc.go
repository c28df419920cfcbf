// SPDX-License-Identifier: Apache-2.0

// Package journal writes journal files that journalctl reads: the log of a
// pod, without a journald. It follows the public description of the format
// (systemd.io/JOURNAL_FILE_FORMAT).
//
// Words: an entry is a list of fields; a data object is one field with its
// value, stored once per file and referred to by all entries that have it; a
// field object is a field's name. The arena is what follows the header of a
// file; the tail is where the next object goes.
//
// A Writer owns one file, rkt.journal, in a directory. When it is full it
// becomes rkt@ID-SEQNUM-TIME.journal and a new one is made; the oldest of those
// are removed when all together are above a limit. What a writer that died has
// left becomes rkt@TIME-RANDOM.journal~, which journalctl still reads. Names and
// archive states are journald's, so that its own vacuuming of the directory
// treats these files as it does its own.
//
// Format: keyed hashes (siphash24), neither compressed nor compact, so that
// systemd 246 and later read it. Readers may read while an entry is written:
// objects are appended first, then counted, then linked, and the tail of the
// header changes last, with a write that wakes those who watch the file.
//
// Invariants:
//   - A failed Write has changed nothing that a reader sees; later writes may
//     succeed (a full disk that has room again).
//   - Space is reserved before the first byte of an entry is written.
//   - Nothing read back from the file is believed: the pod's own root can write
//     to it. What makes no sense starts a new file.
//   - After Create, no path is looked up: files are made, renamed and removed
//     below the directory's descriptor, and no link is followed.
//   - There is no disk flush in Write. Rotated files are flushed in the
//     background, the last one by Close.
//   - What is made belongs to the owner of the directory, also in an idmapped
//     mount of a pod with a user namespace.
//
// PodLog is the form for the output of apps: it keeps in memory where the data
// objects are that every line of an app refers to.
//
//	l, err := journal.OpenPod(filepath.Join(s1, poddir.JournalDir), journal.Pod{
//		UUID: id.String(), MachineID: machine, BootID: boot, Hostname: host,
//	})
//	err = l.Line("web", journal.Stdout, pid, time.Now(), []byte("ready"))
//	err = l.Close()
package journal
