// Package execcmd is the command handler that runs a program of the administrator's.
//
// The configuration says what may run: an absolute path and an argument list, with no shell between. A message brings only a JSON object,
// which the program reads from its standard input ("{}" when the message had none).
//
// # Outcome
//
// Exit status 0 is done, 75 (EX_TEMPFAIL of sysexits.h) means that nothing happened and the hub may deliver the command again, any
// other is refused. What the program wrote on standard output becomes the detail of a command that is done, up to max_output; of any
// other the last words on standard error tell why, or standard output when there are none.
//
// # Process
//
// The program runs in a process group of its own, in dir, with PATH, HOME and LANG, what env lists, IOTAGENT_COMMAND, and nothing
// else of the agent's environment. At the end of its timeout the group gets SIGTERM and two seconds later SIGKILL; what is left
// of the group when the program has ended is killed too, unless it took itself out of the group (setsid). The kernel's parent-death
// signal is not used: it follows the thread that started the program, which the Go runtime may end at any time. Under systemd
// the unit's control group ends what an agent left that was killed.
package execcmd
