#include "daemon/identity.h"

#include <linux/capability.h>
#include <pwd.h>
#include <stdbool.h>
#include <sys/syscall.h>

#include "common/log.h"
#include "common/macros.h"

static bool can_become_others(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	return syscall(SYS_capget, &header, data) == 0 &&
	       data[CAP_TO_INDEX(CAP_SETUID)].effective & CAP_TO_MASK(CAP_SETUID) &&
	       data[CAP_TO_INDEX(CAP_SETGID)].effective & CAP_TO_MASK(CAP_SETGID);
}

static int pick_default(struct program *program)
{
	static const char *const names[] = {"usher", "nobody"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct passwd *user = getpwnam(names[i]);

		if (!user)
			continue;
		program->user = names[i];
		program->uid = user->pw_uid;
		program->gid = user->pw_gid;
		program->has_uid = program->has_gid = true;
		return 0;
	}
	log_error("there is no user \"usher\" nor \"nobody\" for the workers; name one with "
		  "\"user\" in the configuration");
	return -ENOENT;
}

int identity_choose(const struct config *config, struct program *program)
{
	if (!can_become_others()) {
		if (config->user && config->uid != geteuid())
			log_warning("workers run as this usherd's own user: it may not become "
				    "\"%s\"",
				    config->user);
		return 0;
	}
	if (!config->user)
		return pick_default(program);

	program->user = config->user;
	program->uid = config->uid;
	program->gid = config->gid;
	program->has_uid = program->has_gid = true;
	if (program->uid == 0)
		log_warning("workers run as root, as the configuration says");
	return 0;
}
