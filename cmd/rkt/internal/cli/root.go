// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

// version is the version of rkt; a release sets it with
// -ldflags "-X github.com/rkt/rkt/v2/cmd/rkt/internal/cli.version=…".
var version = "2.0.0-dev"

// newRoot builds the tree of commands.
func newRoot(d *Deps) *cobra.Command {
	root := &cobra.Command{
		Use:   "rkt",
		Short: "rkt, the application container runner",
		Long:  "A CLI for running app containers on Linux.\n\nTo get the help on any specific command, run \"rkt help command\".",
		// Words with an edit distance of up to 2 are suggested for unknown ones.
		SuggestionsMinimumDistance: 2,
	}
	d.Global.bind(root.PersistentFlags())
	root.AddCommand(
		newAPIService(d),
		newApp(d),
		newAttach(d),
		newCatManifest(d),
		newComplete(d, cobra.ShellCompRequestCmd, true),
		newComplete(d, cobra.ShellCompNoDescRequestCmd, false),
		newCompletion(d),
		newConfig(d),
		newDoctor(d),
		newEnter(d),
		newExplain(d),
		newExport(d),
		newFetch(d),
		newGC(d),
		newGenerator(d),
		newHelp(d),
		newImage(d),
		newList(d),
		newLogs(d),
		newMetadataService(d),
		newNet(d),
		newPrepare(d),
		newRm(d),
		newRun(d),
		newRunPrepared(d),
		newStatus(d),
		newStop(d),
		newTPM(d),
		newTrust(d),
		newUnit(d),
		newVersion(d),
	)
	return root
}

// newImage is the group of commands on the image store.
func newImage(d *Deps) *cobra.Command {
	group := &cobra.Command{
		Use:   "image",
		Short: "Operate on image(s) in the local store",
		Long:  "This subcommand operates on the images in the local store.",
	}
	hidden := newFetch(d)
	hidden.Hidden = true
	group.AddCommand(
		newImageCatManifest(d),
		newImageExport(d),
		newImageExtract(d),
		hidden,
		newImageFsck(d),
		newImageGC(d),
		newImageInspect(d),
		newImageList(d),
		newImagePush(d),
		newImageRender(d),
		newImageRm(d),
		newImageVerify(d),
	)
	return group
}
