#include "common/cluster/rights.h"

#include <grp.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "common/macros.h"

/* A user can be in so many groups: NGROUPS_MAX of the kernel. */
#define GROUPS_MAX 65536

/* --- the kernel's calls, of which the C library's would change every thread ------------------- */

static int get_capabilities(struct __user_cap_data_struct *ret)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capget, &header, ret) == -1 ? -errno : 0;
}

static int set_capabilities(const struct __user_cap_data_struct *data)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capset, &header, data) == -1 ? -errno : 0;
}

static int set_groups(const gid_t *groups, size_t n)
{
	return syscall(SYS_setgroups, n, groups) == -1 ? -errno : 0;
}

/* Neither call says whether it has failed; the next one tells what there is. */
static int set_user(uid_t uid)
{
	setfsuid(uid);
	return (uid_t)setfsuid((uid_t)-1) == uid ? 0 : -EPERM;
}

static int set_group(gid_t gid)
{
	setfsgid(gid);
	return (gid_t)setfsgid((gid_t)-1) == gid ? 0 : -EPERM;
}

/* --- whose rights ---------------------------------------------------------------------------- */

int rights_of_user(const char *name, uid_t uid, gid_t gid, struct rights *ret)
{
	struct rights rights = {.is_other = true, .uid = uid, .gid = gid};
	int n = 16;

	for (;;) {
		int room = n;
		gid_t *groups = reallocarray(rights.groups, (size_t)room, sizeof(*groups));

		if (!groups) {
			free(rights.groups);
			return -ENOMEM;
		}
		rights.groups = groups;
		if (getgrouplist(name, gid, groups, &n) >= 0)
			break;
		n = n > room ? n : 2 * room;
		if (n > GROUPS_MAX) {
			free(rights.groups);
			return -EOVERFLOW;
		}
	}
	rights.n_groups = (size_t)n;
	*ret = rights;
	return 0;
}

void rights_done(struct rights *rights)
{
	free(rights->groups);
	*rights = (struct rights){.is_other = false};
}

/* --- borrowing ------------------------------------------------------------------------------- */

static int save_groups(struct rights_saved *saved)
{
	int n = getgroups(0, NULL);

	if (n == -1)
		return -errno;
	saved->groups = calloc((size_t)n + 1, sizeof(*saved->groups));
	if (!saved->groups)
		return -ENOMEM;
	saved->n_groups = getgroups(n, saved->groups);
	return saved->n_groups == -1 ? -errno : 0;
}

static int save(const struct rights *rights, struct rights_saved *saved)
{
	int error = get_capabilities(saved->capabilities);

	if (error < 0)
		return error;
	saved->uid = (uid_t)setfsuid((uid_t)-1);
	saved->gid = (gid_t)setfsgid((gid_t)-1);
	saved->dumpable = prctl(PR_GET_DUMPABLE);
	return rights->is_other ? save_groups(saved) : 0;
}

/* Root's programs have their capabilities from being root's. */
static int drop_capabilities(const struct rights *rights, const struct rights_saved *saved)
{
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];

	if (rights->is_other && rights->uid == 0)
		return 0;
	memcpy(none, saved->capabilities, sizeof(none));
	for (size_t i = 0; i < ARRAY_LEN(none); i++)
		none[i].effective = 0;
	return set_capabilities(none);
}

static int change(const struct rights *rights, const struct rights_saved *saved)
{
	int error = 0;

	if (rights->is_other) {
		error = set_groups(rights->groups, rights->n_groups);
		if (error == 0)
			error = set_group(rights->gid);
		if (error == 0)
			error = set_user(rights->uid);
	}
	return error < 0 ? error : drop_capabilities(rights, saved);
}

int rights_borrow(const struct rights *rights, struct rights_saved *ret)
{
	int error;

	*ret = (struct rights_saved){.dumpable = -1};
	if (!rights)
		return 0;
	error = save(rights, ret);
	if (error < 0) {
		free(ret->groups);
		return error;
	}
	error = change(rights, ret);
	if (error < 0)
		rights_return(rights, ret);
	return error;
}

static bool has_groups(const gid_t *groups, int n)
{
	static gid_t now[GROUPS_MAX];

	return getgroups(GROUPS_MAX, now) == n &&
	       (n == 0 || memcmp(now, groups, (size_t)n * sizeof(*now)) == 0);
}

static bool is_as_saved(const struct rights *rights, const struct rights_saved *saved)
{
	/* Of what the kernel writes valgrind knows only the half. */
	struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3] = {0};

	if (get_capabilities(now) < 0 || memcmp(now, saved->capabilities, sizeof(now)) != 0)
		return false;
	return !rights->is_other || ((uid_t)setfsuid((uid_t)-1) == saved->uid &&
				     (gid_t)setfsgid((gid_t)-1) == saved->gid &&
				     has_groups(saved->groups, saved->n_groups));
}

/* A call may be forbidden, by a filter, that was forbidden on the way there as well: what counts is
 * where we are in the end. */
void rights_return(const struct rights *rights, struct rights_saved *saved)
{
	if (!rights)
		return;
	/* They are what it takes to get the rest; that takes some away, and puts others back. */
	set_capabilities(saved->capabilities);
	if (rights->is_other) {
		set_user(saved->uid);
		set_group(saved->gid);
		set_groups(saved->groups, (size_t)saved->n_groups);
		set_capabilities(saved->capabilities);
	}
	if (!is_as_saved(rights, saved))
		abort();
	/* Another user's rights made core dumps impossible. */
	if (saved->dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1);
	free(saved->groups);
	saved->groups = NULL;
}
