package faults

// What the outbox does by now. A test that needs more skips itself and says so.
const (
	// declaresUncleanStops says that the outbox keeps messages in memory for MaxLoss and declares what an unclean stop may have cost by a
	// gap with the reason "unclean-stop". While every put is fsynced there is nothing to declare.
	declaresUncleanStops = true
	// mistrustsFailedSyncs says that a put whose sync failed returns nil only after everything was written anew and synced. While it is
	// false, the outbox reads the file again and takes what it finds there, which may be in the page cache only.
	mistrustsFailedSyncs = true
	// readsReadOnlyDisks says that the backlog is handed out on a read-only file system. While it is false, removing what a repair may have
	// left behind fails there, and the files are not even opened.
	readsReadOnlyDisks = true
)
