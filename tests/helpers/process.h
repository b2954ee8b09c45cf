/* A program that a test runs: started with arguments, environment and descriptors of the test's
 * choice, its output kept, its end awaited with a deadline.
 *
 * Owns:   the child and the files with its output, until process_done().
 * Errors: what cannot fail in a sane system fails the test through cmocka.
 * Source: pidfd_open(2) for the event of its end, sd_listen_fds(3) for the passed descriptors. */
#ifndef USHER_TESTS_HELPERS_PROCESS_H
#define USHER_TESTS_HELPERS_PROCESS_H

#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/types.h>

#define PROCESS_ARGUMENTS_MAX 16

struct process_options {
	const char *const *argv; /* NULL at the end; argv[0] is the path */
	const char *const *env; /* "NAME=value", added to the test's own; NULL at the end or NULL */
	const char *folder;     /* to run in; NULL: the test's */
	const int *fds;         /* become 3, 4, ... */
	int n_fds;
	const char *fd_names; /* set: LISTEN_FDS, LISTEN_PID and this as LISTEN_FDNAMES are given */
	uid_t uid; /* 0: the test's own; else that user, with no group and no capability */
};

struct process {
	pid_t pid; /* 0: none */
	int pidfd;
	int out; /* what it wrote; read with process_text() */
	int err;
};

void process_start(struct process *p, const struct process_options *options);

/* Waits for its end. Returns the exit code, 128 plus the signal's number, or -1 at the deadline. */
int process_wait(struct process *p, int timeout_ms);

/* What was written to out or err so far, for free(). */
char *process_text(int file);

/* Kills it if it still runs; takes one that was never started. */
void process_done(struct process *p);

/* Starts a program, waits for its end, and returns its exit code; *ret_out and *ret_err, unless
 * NULL, are for free(). */
int process_run(const struct process_options *options, char **ret_out, char **ret_err);

/* Puts the arguments up to a NULL behind the first ones, of which there are used. */
void process_arguments(const char *argv[PROCESS_ARGUMENTS_MAX], size_t used, va_list args);

/* Fills in BUILD/NAME, absolute, and returns it; BUILD is the build folder under test
 * ($USHER_BUILD, else build). */
const char *built(const char *name, char path[PATH_MAX]);

#endif
