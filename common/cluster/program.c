#include "common/cluster/program.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "common/macros.h"

int program_open(const char *path, struct program *ret)
{
	AUTO_CLOSE int fd = -1;
	int clear;

	if (access(path, X_OK) == -1)
		return -errno;
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd == -1)
		return -errno;

	/* In the new process the channel takes its place before this is used. */
	clear = fcntl(fd, F_DUPFD_CLOEXEC, PROGRAM_CHANNEL_FD + 1);
	if (clear == -1)
		return -errno;
	*ret = (struct program){.path = path, .fd = clear};
	return 0;
}

void program_close(struct program *program)
{
	close_fd(take_fd(&program->fd));
}

/* --- the environment ------------------------------------------------------------------------- */

size_t program_list_length(const char *const *list)
{
	size_t length = 0;

	while (list && list[length])
		length++;
	return length;
}

/* Whether both set the same variable. */
static bool is_same_variable(const char *a, const char *b)
{
	size_t size = strcspn(a, "=");

	return strncmp(a, b, size) == 0 && (b[size] == '=' || b[size] == '\0');
}

/* A later one takes the place of an earlier one. */
static void put(char **list, size_t *length, const char *variable)
{
	for (size_t i = 0; i < *length; i++) {
		if (!is_same_variable(variable, list[i]))
			continue;
		list[i] = (char *)variable;
		return;
	}
	list[(*length)++] = (char *)variable;
}

int program_environment(const struct program *p, char ***ret)
{
	const char *const *ours = (const char *const *)environ;
	size_t n_ours = program_list_length(ours), n_theirs = program_list_length(p->env);
	size_t length = 0;
	const size_t channel_size = sizeof(IPC_CHANNEL_VARIABLE) + 16;
	size_t entries = n_ours + n_theirs + 2; /* the channel, NULL */
	char **list = malloc(entries * sizeof(*list) + channel_size);

	if (!list)
		return -ENOMEM;
	for (; length < n_ours; length++)
		list[length] = (char *)ours[length];
	for (size_t i = 0; i < n_theirs; i++)
		put(list, &length, p->env[i]);

	char *channel = (char *)(list + entries);
	snprintf(channel, channel_size, "%s=%d", IPC_CHANNEL_VARIABLE, PROGRAM_CHANNEL_FD);
	put(list, &length, channel);
	list[length] = NULL;
	*ret = list;
	return 0;
}

/* --- in the new process ---------------------------------------------------------------------- */

static void reset_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL); /* what cannot be set keeps its default */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Out of the way of the numbers that are given away; -1 stays /dev/null. */
static int lift(int fd)
{
	AUTO_CLOSE int null = fd == -1 ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;

	return fcntl(fd == -1 ? null : fd, F_DUPFD_CLOEXEC, PROGRAM_CHANNEL_FD + 1);
}

/* Whatever is not for the program, but for two descriptors (-1: none). */
static int close_all_but(int one, int other)
{
	const int kept[] = {one < other ? one : other, one < other ? other : one};
	int next = PROGRAM_CHANNEL_FD + 1;

	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		if (kept[i] < next)
			continue;
		if (kept[i] > next && close_range((unsigned)next, (unsigned)kept[i] - 1, 0) == -1)
			return -errno;
		next = kept[i] + 1;
	}
	return close_range((unsigned)next, ~0u, 0) == -1 ? -errno : 0;
}

/* Each of them may have the number of another one. */
static int set_descriptors(const struct program *p, int channel, int begun)
{
	int lifted[ARRAY_LEN(p->stdio)];

	for (size_t i = 0; p->has_stdio && i < ARRAY_LEN(lifted); i++) {
		lifted[i] = lift(p->stdio[i]);
		if (lifted[i] == -1)
			return -errno;
	}
	/* dup2() onto itself would leave close-on-exec set. */
	if (channel == PROGRAM_CHANNEL_FD ? fcntl(channel, F_SETFD, 0) == -1
					  : dup2(channel, PROGRAM_CHANNEL_FD) == -1)
		return -errno;
	for (int i = 0; p->has_stdio && i < (int)ARRAY_LEN(lifted); i++)
		if (lifted[i] == i ? fcntl(i, F_SETFD, 0) == -1 : dup2(lifted[i], i) == -1)
			return -errno;
	return close_all_but(p->fd, begun);
}

static int set_groups(const struct program *p)
{
	if (p->user && initgroups(p->user, p->gid) == -1)
		return -errno;
	/* Who may not give up groups is no other user either, and that is told next. */
	if (!p->user && (p->has_uid || p->has_gid) && setgroups(0, NULL) == -1 && errno != EPERM)
		return -errno;
	if (p->has_gid && setresgid(p->gid, p->gid, p->gid) == -1)
		return -errno;
	return 0;
}

/* Gives up what the process may do: the user it was, and capabilities that would outlive execve().
 */
static int become(const struct program *p)
{
	int error;

	if (p->confined && (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == -1 ||
			    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1))
		return -errno;
	error = set_groups(p);
	if (error < 0)
		return error;
	if (p->has_uid && setresuid(p->uid, p->uid, p->uid) == -1)
		return -errno;
	return 0;
}

/* Becoming another user would undo it. */
static int die_with(const struct program *p, pid_t parent)
{
	if (p->death_signal == 0)
		return 0;
	if (prctl(PR_SET_PDEATHSIG, p->death_signal, 0, 0, 0) == -1)
		return -errno;
	return getppid() == parent ? 0 : -ESRCH; /* it has died already */
}

static int run(const struct program *p, char *const *environment)
{
	const char *const path_alone[] = {p->path, NULL};
	char *const *args = (char *const *)(p->args ? p->args : path_alone);

	if (p->fd != -1)
		execveat(p->fd, "", args, environment, AT_EMPTY_PATH);
	/* The interpreter of a script cannot read it from a descriptor that closes on exec. */
	if (p->fd == -1 || errno == ENOENT)
		execve(p->path, args, environment);
	return -errno;
}

int program_execute(const struct program *p, char *const *environment, int channel, int begun,
		    pid_t parent, enum ipc_step *ret_step)
{
	int error;

	reset_signals();
	*ret_step = IPC_STEP_DESCRIPTORS;
	error = set_descriptors(p, channel, begun);
	if (error < 0)
		return error;
	close_fd(begun);

	*ret_step = IPC_STEP_USER;
	error = become(p);
	if (error == 0)
		error = die_with(p, parent);
	if (error < 0)
		return error;

	*ret_step = IPC_STEP_FOLDER;
	if (p->cwd && chdir(p->cwd) == -1)
		return -errno;
	*ret_step = IPC_STEP_EXECUTE;
	return run(p, environment);
}
