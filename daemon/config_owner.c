#include "daemon/config_owner.h"

#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdint.h>
#include <string.h>

#include "daemon/config.h"
#include "daemon/config_value.h"

#define NAME_SIZE 256
#define ID_MAX    (UINT32_MAX - 1) /* the last number means "unchanged" to chown(2) */

_Static_assert(sizeof(uid_t) == 4 && sizeof(gid_t) == 4, "ID_MAX is about 32 bits");

/* The functions of getpwnam(3) leave errno alone, or set one of several, when nobody has the
 * name. */
static int complain_of_unknown(struct config_reader *reader, const struct config_key *key,
			       const yaml_node_t *value, const char *what, const char *name,
			       int err)
{
	if (err == EIO || err == EMFILE || err == ENFILE || err == ENOMEM || err == EINTR)
		return config_complain(reader, value, "\"%s\": cannot look up %s \"%.64s\": %s",
				       key->name, what, name, strerror(err));

	return config_complain(reader, value, "\"%s\": this machine has no %s \"%.64s\"", key->name,
			       what, name);
}

static bool is_number(const char *text, unsigned long *ret)
{
	size_t n = config_digits(text, ID_MAX, ret);

	return n > 0 && text[n] == '\0';
}

int config_read_user(struct config_reader *reader, const struct config_key *key,
		     const yaml_node_t *value, void *target)
{
	struct config *config = target;
	const char *name;
	unsigned long number;

	int err = config_text(reader, key, value, "the name or number of a user", &name);
	if (err)
		return err;

	errno = 0;
	const struct passwd *entry = is_number(name, &number) ? getpwuid((uid_t)number)
							      : getpwnam(name);
	if (!entry)
		return complain_of_unknown(reader, key, value, "user", name, errno);

	uid_t uid = entry->pw_uid;
	gid_t gid = entry->pw_gid;
	err = config_replace(&config->user, entry->pw_name);
	if (err)
		return err;

	config->uid = uid;
	config->gid = gid;
	return 0;
}

/* A number need not belong to anybody: chown(2) does not ask either. */
static int find_user(struct config_reader *reader, const struct config_key *key,
		     const yaml_node_t *value, const char *name, uid_t *ret)
{
	unsigned long number;

	if (is_number(name, &number)) {
		*ret = (uid_t)number;
		return 0;
	}

	errno = 0;
	const struct passwd *entry = getpwnam(name);
	if (!entry)
		return complain_of_unknown(reader, key, value, "user", name, errno);

	*ret = entry->pw_uid;
	return 0;
}

static int find_group(struct config_reader *reader, const struct config_key *key,
		      const yaml_node_t *value, const char *name, gid_t *ret)
{
	unsigned long number;

	if (is_number(name, &number)) {
		*ret = (gid_t)number;
		return 0;
	}

	errno = 0;
	const struct group *entry = getgrnam(name);
	if (!entry)
		return complain_of_unknown(reader, key, value, "group", name, errno);

	*ret = entry->gr_gid;
	return 0;
}

int config_read_owner(struct config_reader *reader, const struct config_key *key,
		      const yaml_node_t *value, void *target)
{
	static const char expected[] = "USER, USER:GROUP or :GROUP";
	struct config_listener *listener = target;
	uid_t uid = (uid_t)-1;
	gid_t gid = (gid_t)-1;
	char user[NAME_SIZE];
	const char *text;

	int err = config_text(reader, key, value, expected, &text);
	if (err)
		return err;

	size_t user_size = strcspn(text, ":");
	const char *group = text[user_size] == ':' ? text + user_size + 1 : NULL;
	if (user_size >= sizeof(user) || (group && group[0] == '\0'))
		return config_refuse(reader, key->name, value, expected);

	memcpy(user, text, user_size);
	user[user_size] = '\0';

	int user_err = user_size > 0 ? find_user(reader, key, value, user, &uid) : 0;
	int group_err = group ? find_group(reader, key, value, group, &gid) : 0;
	if (user_err || group_err)
		return user_err ? user_err : group_err;

	listener->uid = uid;
	listener->gid = gid;
	return 0;
}

/* Without the leading 0 it would be unclear, to YAML as to people, which base is meant. */
int config_read_mode(struct config_reader *reader, const struct config_key *key,
		     const yaml_node_t *value, void *target)
{
	struct config_listener *listener = target;
	const char *text = config_scalar(value);

	if (!text || strlen(text) != 4 || text[0] != '0' || strspn(text, "01234567") != 4)
		return config_refuse(reader, key->name, value,
				     "four octal digits from 0000 to 0777");

	listener->mode = (mode_t)strtoul(text, NULL, 8);
	listener->has_mode = true;
	return 0;
}
