// SPDX-License-Identifier: Apache-2.0

package cli

// commands returns all commands, in the order of the help. They are made anew
// for each run because they hold the values of their flags.
func commands() []command {
	return []command{
		group("annotation", "Annotations of the image", nil,
			add("NAME VALUE", "Add or replace an annotation", addAnnotation),
			remove("NAME", "Remove an annotation", removeAnnotation)),
		newBegin(),
		newCatManifest(),
		newCopy(),
		newCopyToDir(),
		group("dependency", "Images below this one", nil,
			onlyAppc(newAddDependency()),
			onlyAppc(remove("NAME", "Remove a dependency", removeDependency))),
		newDockerfile(),
		newEnd(),
		group("environment", "Variables of the app", nil,
			add("NAME VALUE", "Add or replace a variable", addEnvironment),
			remove("NAME", "Remove a variable", removeEnvironment)),
		newGenManPages(),
		group("isolator", "Isolators of the app", nil,
			onlyAppc(add("NAME FILE|-", "Add or replace an isolator; its value is JSON", addIsolator)),
			onlyAppc(remove("NAME", "Remove an isolator", removeIsolator))),
		group("label", "Labels of the image", nil,
			add("NAME VALUE", "Add or replace a label", addLabel),
			remove("NAME", "Remove a label", removeLabel)),
		newLayer(),
		group("mount", "Mount points of the app", []string{"volume"},
			newAddMount(),
			remove("NAME|PATH", "Remove a mount point", removeMount)),
		group("port", "Ports of the app", nil,
			newAddPort(),
			remove("NAME|NUMBER", "Remove a port", removePort)),
		newReplaceManifest(),
		newRun(),
		newScript(),
		onlyAppc(newSetEventHandler()),
		newSetExec(),
		set("set-group", "GROUP", "Set the group the app runs as", setGroup),
		onlyAppc(set("set-name", "NAME", "Set the name of the image", setName)),
		onlyAppc(newSetGroups()),
		set("set-tag", "TAG", "Set the label version, in an OCI build the reference name", setTag),
		set("set-user", "USER", "Set the user the app runs as", setUser),
		alias(set("set-working-directory", "DIR", "Set the directory the app starts in", setWorkingDirectory), "set-wd"),
		newSquash(),
		newVersion(),
		newWrite(),
	}
}

type editFunc = func(c *call, m *manifest) error

func group(name, summary string, aliases []string, sub ...command) command {
	return command{name: name, summary: summary, aliases: aliases, sub: sub}
}

func add(args, summary string, edit editFunc) command {
	return command{name: "add", args: args, summary: summary, min: 2, max: 2, edit: edit, modifies: true}
}

func set(name, args, summary string, edit editFunc) command {
	return command{name: name, args: args, summary: summary, min: 1, max: 1, edit: edit, modifies: true}
}

func remove(args, summary string, edit editFunc) command {
	return alias(set("remove", args, summary, edit), "rm")
}

func alias(c command, name string) command {
	c.aliases = append(c.aliases, name)
	return c
}

func onlyAppc(c command) command {
	c.appcOnly = true
	return c
}
