package main

// processMutants break what the process promises: nothing is lost in an upgrade or a drain, and no right is kept.
var processMutants = []mutant{
	{
		Name: "process/no-farewell", File: "sentinel/process.go", Tests: scenarios("TestReplaced"),
		Old:  "const farewellTime = 5 *",
		New:  "const farewellTime = 0 *",
		Rule: "a client that is just sending its next request loses nothing in an upgrade",
	},
	{
		Name: "process/closed-before-noticed", File: "sentinel/proxy.go", Tests: scenarios("TestReadyFirst"),
		Old:  "if !replaced {\n",
		New:  "if replaced {\n",
		Rule: "a load balancer sees that the proxy is not ready before its listeners close",
	},
	{
		Name: "process/cut-while-open", File: "sentinel/conn.go", Tests: scenarios("TestReadyFirst"),
		Old:  "if c.p.leaving.Load() || c.dropped() {",
		New:  "if c.ending() {",
		Rule: "who connects while listeners are still open is served",
	},
	{
		Name: "process/asleep-in-body", File: "sentinel/exchange.go", Tests: inEngine("TestDrainHeldBody"),
		Old:  "	x.c.awake()\n",
		New:  "",
		Rule: "a drain does not cut a request whose body is still coming",
	},
	{
		Name: "process/waits-for-log", File: "sentinel/notes.go", Tests: inEngine("TestStuckLog"),
		Old:  "p.remarks.add(what, level, attrs)",
		New:  "p.log.LogAttrs(context.Background(), level, what, attrs...)",
		Rule: "a standard error that nobody reads stops nobody who accepts, sweeps or serves",
	},
	{
		Name: "process/passed-on-for-ever", File: "sentinel/internal/process/sockets.go", Tests: inProcess("TestCloseReallyCloses"),
		Old:  "if i := slices.Index(l.set.inUse, l); i >= 0 {",
		New:  "if i := slices.Index(l.set.inUse, l); i > len(l.set.inUse) {",
		Rule: "a removed listener is not passed on",
	},
	{
		Name: "process/unwanted-sockets", File: "sentinel/internal/process/sockets.go", Tests: inCommand("TestSocketActivation"),
		Old:  "_ = l.TCPListener.Close()\n\t}\n\ts.spare",
		New:  "}\n\ts.spare",
		Rule: "nobody waits in the line of a socket that no listener has",
	},
	{
		Name: "process/strangers-pid-file", File: "sentinel/internal/process/pidfile.go", Tests: inProcess("TestPIDFile"),
		Old:  "if p.ours() {",
		New:  "if p.file != nil {",
		Rule: "the pid-file of the process that took over stays",
	},
	{
		Name: "process/stale-pid-file", File: "sentinel/internal/process/upgrade.go", Tests: inCommand("TestUpgradeCommandFails"),
		Old:  "case !old.lives:",
		New:  "case !old.lives && old.pid == 0:",
		Rule: "no stranger gets a signal because of a stale pid-file",
	},
	{
		Name: "process/twice", File: "sentinel/internal/process/host.go", Tests: inCommand("TestUpgradeCommandFails"),
		Old:  "if there, err := readPID(path); err == nil && there.lives {",
		New:  "if there, err := readPID(path); err != nil && there.lives {",
		Rule: "a second process beside a running one is refused",
	},
	{
		Name: "process/hanging-child", File: "sentinel/internal/process/child.go", Tests: inCommand("TestStopDuringUpgrade"),
		Old:  "case <-cancel:\n",
		New:  "case <-make(chan int):\n",
		Rule: "a stop ends an upgrade that hangs",
	},
	{
		Name: "process/upgrade-while-draining", File: "sentinel/internal/process/upgrade.go", Tests: inProcess("TestStates"),
		Old:  "if h.state != serving {",
		New:  "if h.state == replaced {",
		Rule: "a process that is ending starts no other",
	},
	{
		Name: "process/roots-groups", File: "sentinel/internal/process/account.go", Tests: inCommand("TestAccount"),
		Old:  "return syscall.Setgroups(a.groups)",
		New:  "return nil",
		Rule: "no group of root is kept (needs root)",
	},
	{
		Name: "process/roots-id", File: "sentinel/internal/process/account.go", Tests: inCommand("TestAccount"),
		Old:  "return syscall.Setresuid(a.uid, a.uid, a.uid)",
		New:  "return syscall.Setresuid(-1, a.uid, -1)",
		Rule: "root's rights cannot be had back (needs root)",
	},
	{
		Name: "process/late-account", File: "sentinel/internal/process/host.go", Tests: inCommand("TestAccountRefused"),
		Old:  "return a.assume()",
		New:  "_ = a.assume()\n\treturn nil",
		Rule: "who cannot become the account does not serve as another one",
	},
	{
		Name: "process/second-signal", File: "sentinel/internal/process/host.go", Tests: inCommand("TestSecondSignal"),
		Old:  "if h.state == stopping || h.state == replaced {\n\t\treturn true",
		New:  "if h.state == stopping || h.state == replaced {\n\t\treturn false",
		Rule: "a second signal ends the process at once",
	},
	{
		Name: "process/blocking-sockets", File: "sentinel/internal/process/child.go", Tests: inCommand("TestUpgradeFails"),
		Old:  "for _, fd := range c.fds {\n\t\tfiles",
		New:  "for _, fd := range c.fds {\n\t\t_ = syscall.SetNonblock(fd, false)\n\t\tfiles",
		Rule: "passing a socket on does not change it for whoever goes on using it",
	},
}
