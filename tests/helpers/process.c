#include "tests/helpers/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/helpers/wait.h"

#define FIRST_PASSED_FD 3
#define ABOVE_PASSED    64 /* more descriptors than any test passes */

/* Moves the passed descriptors to 3, 4, ..., by way of numbers that none of them can have. */
static int place_fds(const struct process_options *options)
{
	int high[ABOVE_PASSED];

	if (options->n_fds > ABOVE_PASSED)
		return -1;
	for (int i = 0; i < options->n_fds; i++) {
		high[i] = fcntl(options->fds[i], F_DUPFD_CLOEXEC, ABOVE_PASSED + FIRST_PASSED_FD);
		if (high[i] == -1)
			return -1;
	}
	for (int i = 0; i < options->n_fds; i++)
		if (dup2(high[i], FIRST_PASSED_FD + i) == -1)
			return -1;
	return 0;
}

static void set_environment(const struct process_options *options)
{
	char number[16];

	for (const char *const *entry = options->env; entry && *entry; entry++)
		putenv((char *)*entry);
	if (!options->fd_names)
		return;

	snprintf(number, sizeof(number), "%d", (int)getpid());
	setenv("LISTEN_PID", number, 1);
	snprintf(number, sizeof(number), "%d", options->n_fds);
	setenv("LISTEN_FDS", number, 1);
	setenv("LISTEN_FDNAMES", options->fd_names, 1);
}

/* Opened while the child is still who the test is: another user may have no way through the folders
 * above the build. The number is out of the way of passed descriptors. */
static int open_program(const char *path)
{
	AUTO_CLOSE int fd = open(path, O_PATH | O_CLOEXEC);

	return fcntl(fd, F_DUPFD_CLOEXEC, ABOVE_PASSED);
}

static void run_child(const struct process_options *options, int out, int err)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);
	int program = open_program(options->argv[0]);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_DFL);
	signal(SIGQUIT, SIG_DFL);
	if (null == -1 || dup2(null, 0) == -1 || dup2(out, 1) == -1 || dup2(err, 2) == -1)
		_exit(125);
	if (null > STDERR_FILENO)
		close(null);

	if (place_fds(options) == -1 || (options->folder && chdir(options->folder) == -1))
		_exit(125);
	if (options->uid &&
	    (setgroups(0, NULL) == -1 || setgid(options->uid) == -1 || setuid(options->uid) == -1))
		_exit(125);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* after setuid, which clears it */
	set_environment(options);
	execveat(program, "", (char *const *)options->argv, environ, AT_EMPTY_PATH);
	dprintf(2, "cannot run %s: %s\n", options->argv[0], strerror(errno));
	_exit(127);
}

void process_start(struct process *p, const struct process_options *options)
{
	p->out = memfd_create("out", MFD_CLOEXEC);
	p->err = memfd_create("err", MFD_CLOEXEC);
	assert_true(p->out >= 0 && p->err >= 0);

	p->pid = fork();
	if (p->pid == 0)
		run_child(options, p->out, p->err);
	assert_true(p->pid > 0);
	p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	assert_true(p->pidfd >= 0);
}

int process_wait(struct process *p, int timeout_ms)
{
	int status;

	if (!wait_readable(p->pidfd, timeout_ms))
		return -1;
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	p->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

char *process_text(int file)
{
	struct stat st;
	char *text;
	ssize_t size;

	assert_int_equal(fstat(file, &st), 0);
	text = malloc((size_t)st.st_size + 1);
	assert_non_null(text);
	size = pread(file, text, (size_t)st.st_size, 0);
	assert_true(size >= 0);
	text[size] = '\0';
	return text;
}

void process_done(struct process *p)
{
	if (p->pid > 0) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
	}
	if (p->pidfd > 0) {
		close(p->pidfd);
		close(p->out);
		close(p->err);
	}
	*p = (struct process){0};
}

void process_arguments(const char *argv[PROCESS_ARGUMENTS_MAX], size_t used, va_list args)
{
	do {
		assert_true(used < PROCESS_ARGUMENTS_MAX);
		argv[used] = va_arg(args, const char *);
	} while (argv[used++]);
}

int process_run(const struct process_options *options, char **ret_out, char **ret_err)
{
	struct process p = {0};
	int code;

	process_start(&p, options);
	code = process_wait(&p, WAIT_MS);
	if (ret_out)
		*ret_out = process_text(p.out);
	if (ret_err)
		*ret_err = process_text(p.err);
	process_done(&p);
	return code;
}

const char *built(const char *name, char path[PATH_MAX])
{
	char folder[PATH_MAX];
	const char *build = getenv("USHER_BUILD");

	assert_non_null(realpath(build ? build : "build", folder));
	assert_true(snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX);
	return path;
}
