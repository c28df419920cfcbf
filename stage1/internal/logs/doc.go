// SPDX-License-Identifier: Apache-2.0

// Package logs is the entrypoint "logs": it shows what the apps of a pod have
// written, from the pod's journal files. The pod may run or have ended; nothing
// of it need be mounted.
//
// journalctl does the reading: the one in the stage1 image, by the image's own
// dynamic linker, or that of the host for an image without one. Journal files
// are written by the pod, so journalctl is not trusted to survive them: started
// by root it gets another user, no privilege but that of reading files, and no
// way to gain one.
//
// Following: journalctl's own --follow never ends, and cannot tell whether all
// that was written before the end of the pod has been shown. So journalctl is
// run again for what comes after the last entry (its cursor) whenever the
// number of entries in the files has changed; when the pod lock is free, once
// more, and that is the end. Every entry is shown once.
//
// Source: journalctl(1), systemd.io/JOURNAL_FILE_FORMAT.
package logs
