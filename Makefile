# usher: everything is built, tested and installed from here; products go to build/.
#
# Yours to set: CC, CFLAGS, CPPFLAGS, LDFLAGS, PREFIX, DESTDIR, WERROR=1, V=1.

VERSION = 0.1.0
SOVERSION = 0

CC       ?= cc
CFLAGS   ?= -O2 -g
PREFIX   ?= /usr/local
SYSCONFDIR ?= /etc
BINDIR     = $(PREFIX)/bin
SBINDIR    = $(PREFIX)/sbin
LIBDIR     = $(PREFIX)/lib
LIBEXECDIR = $(PREFIX)/libexec/usher
INCLUDEDIR = $(PREFIX)/include/usher
MANDIR     = $(PREFIX)/share/man
DOCDIR     = $(PREFIX)/share/doc/usher
UNITDIR    = $(LIBDIR)/systemd/system
BUILD      = build

# Debian packages by name: to build and run, and on top of that to test.
BUILD_PACKAGES = gcc libc6-dev pkg-config libev-dev libyaml-dev libjansson-dev
CHECK_PACKAGES = clang clang-format clang-tidy libclang-rt-14-dev libcmocka-dev cppcheck \
	valgrind mandoc shellcheck netcat-openbsd iproute2 procps systemd

# --- flags ------------------------------------------------------------------------------------

pkg = $(shell pkg-config $(1) $(2) 2>/dev/null || echo $(3))

WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wwrite-strings -Wformat=2 -Wundef -Wvla -Wswitch-enum -Wno-unused-parameter \
	$(if $(filter 1,$(WERROR)),-Werror)
HARDENING = -fstack-protector-strong $(if $(SANITIZE)$(findstring -O0,$(CFLAGS)),,-D_FORTIFY_SOURCE=2)
OUR_CFLAGS = -std=gnu11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -fno-strict-aliasing -MMD -MP $(WARNINGS) \
	$(HARDENING) $(SANITIZE) -I. -I$(BUILD)/include -DUSHER_VERSION='"$(VERSION)"' \
	-DUSHER_WORKER='"$(LIBEXECDIR)/usher-worker"' -DUSHER_CONFIG='"$(SYSCONFDIR)/usher/usher.yaml"'
OUR_LDFLAGS = $(SANITIZE) -Wl,-z,relro,-z,now -Wl,--as-needed

EV_LIBS      = -lev
YAML_LIBS    = $(call pkg,--libs,yaml-0.1,-lyaml)
JANSSON_LIBS = $(call pkg,--libs,jansson,-ljansson)
CMOCKA_LIBS  = $(call pkg,--libs,cmocka,-lcmocka)
LIBS         = $(EV_LIBS) $(YAML_LIBS) $(JANSSON_LIBS)

COMPILE = $(CC) $(CPPFLAGS) $(OUR_CFLAGS) $(CFLAGS)
LINK    = $(CC) $(OUR_LDFLAGS) $(CFLAGS) $(LDFLAGS)
Q       = $(if $(V),,@)

# --- what there is ----------------------------------------------------------------------------

MAINS       = daemon/main.c daemon/usherctl.c worker/main.c
PUBLIC      = $(wildcard common/net/net.h common/cluster/cluster.h)
COMMON_SRC  = $(wildcard common/*.c common/*/*.c)
DAEMON_SRC  = $(filter-out $(MAINS),$(wildcard daemon/*.c))
WORKER_SRC  = $(filter-out $(MAINS),$(wildcard worker/*.c worker/*/*.c))
HELPER_SRC  = $(wildcard tests/helpers/*.c)
UNIT        = $(wildcard tests/unit/test_*.c)
INTEGRATION = $(wildcard tests/integration/test_*.c)
EXAMPLES    = $(wildcard tests/examples/*.c)
FUZZ        = $(wildcard tests/fuzz/fuzz_*.c)
SCRIPTS     = $(wildcard tests/*.sh tests/*/*.sh .ci/run)
MANUALS     = $(wildcard daemon/*.[1-8] common/*/*.[1-8] conf/*.[1-8])
C_FILES     = $(wildcard */*.[ch] */*/*.[ch])

obj = $(1:%.c=$(BUILD)/%.o)
exe = $(1:%.c=$(BUILD)/%)

PROGRAMS = $(BUILD)/usherd $(BUILD)/usher-worker $(BUILD)/usherctl
UNITS    = $(wildcard systemd/*.service systemd/*.socket)
LIBRARY  = $(BUILD)/libusher.so $(BUILD)/libusher.a
ALL_OBJ  = $(call obj,$(COMMON_SRC) $(DAEMON_SRC) $(WORKER_SRC) $(MAINS) $(HELPER_SRC) $(UNIT) \
	$(INTEGRATION) $(EXAMPLES) $(FUZZ))

# --- targets ----------------------------------------------------------------------------------

all: programs library units ## build the programs and the library (the default)
programs: $(PROGRAMS)
units: $(addprefix $(BUILD)/,$(notdir $(UNITS)))
library: $(LIBRARY) $(BUILD)/usher.pc

run: deps ## install what is missing, build, and run usherd with conf/usher.yaml
	@$(MAKE) --no-print-directory programs
	$(BUILD)/usherd -c conf/usher.yaml

check: deps-check ## install what is missing, build, and run every test
	@$(MAKE) --no-print-directory all tests
	@tests/run.sh $(BUILD)

deps: ## install the Debian packages that are missing to build and run
	@tests/deps.sh $(BUILD_PACKAGES)
deps-check:
	@tests/deps.sh $(BUILD_PACKAGES) $(CHECK_PACKAGES)

tests: $(call exe,$(UNIT) $(INTEGRATION) $(EXAMPLES))

sanitize: ## the whole suite under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory all tests BUILD=$(BUILD)/sanitize \
		SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
	@tests/run.sh $(BUILD)/sanitize

valgrind: all tests ## the unit tests under valgrind
	@tests/run.sh --valgrind $(BUILD)

FUZZ_SECONDS = 60
fuzz: ## fuzz the parsers of outside bytes for FUZZ_SECONDS each (clang's libFuzzer)
	@$(MAKE) --no-print-directory fuzz-build BUILD=$(BUILD)/fuzz CC=clang \
		SANITIZE="-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined"
	@tests/fuzz/run.sh $(BUILD)/fuzz $(FUZZ_SECONDS)
fuzz-build: $(call exe,$(FUZZ))

format: ## lay out the code as .clang-format says
	clang-format -i $(C_FILES)

lint: ## clang-format, clang-tidy, cppcheck, mandoc and shellcheck, all clean
	@tests/lint.sh "$(C_FILES)" "$(MANUALS)" "$(SCRIPTS)" "$(BUILD)"

# What goes where: MODE SOURCE DESTINATION.
INSTALLED = \
	0755:$(BUILD)/usherd:$(SBINDIR)/usherd \
	0755:$(BUILD)/usherctl:$(BINDIR)/usherctl \
	0755:$(BUILD)/usher-worker:$(LIBEXECDIR)/usher-worker \
	0755:$(BUILD)/libusher.so.$(SOVERSION):$(LIBDIR)/libusher.so.$(SOVERSION) \
	0644:$(BUILD)/libusher.a:$(LIBDIR)/libusher.a \
	0644:$(BUILD)/usher.pc:$(LIBDIR)/pkgconfig/usher.pc \
	$(foreach header,$(PUBLIC),0644:$(header):$(INCLUDEDIR)/$(notdir $(header))) \
	$(foreach page,$(MANUALS),0644:$(page):$(MANDIR)/man$(subst .,,$(suffix $(page)))/$(notdir $(page))) \
	$(foreach unit,$(UNITS),0644:$(BUILD)/$(notdir $(unit)):$(UNITDIR)/$(notdir $(unit))) \
	0644:systemd/sysusers.conf:$(LIBDIR)/sysusers.d/usher.conf \
	0644:systemd/tmpfiles.conf:$(LIBDIR)/tmpfiles.d/usher.conf \
	0644:conf/usher.yaml:$(DOCDIR)/examples/usher.yaml \
	0644:README.md:$(DOCDIR)/README.md \
	0644:LICENSE:$(DOCDIR)/LICENSE

install: all ## put everything in its place below DESTDIR and PREFIX
	@set -e; for entry in $(INSTALLED); do \
		set -- $$(echo "$$entry" | tr : ' '); \
		install -D -m "$$1" "$$2" "$(DESTDIR)$$3"; \
	done
	@ln -sf libusher.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libusher.so
	@test -e $(DESTDIR)$(SYSCONFDIR)/usher/usher.yaml || \
		install -D -m 0644 conf/usher.yaml $(DESTDIR)$(SYSCONFDIR)/usher/usher.yaml
uninstall: ## remove what install put there, but not what is in /etc/usher
	@rm -f $(foreach entry,$(INSTALLED),$(DESTDIR)$(lastword $(subst :, ,$(entry)))) \
		$(DESTDIR)$(LIBDIR)/libusher.so

dist: ## a source archive in build/
	@mkdir -p $(BUILD)
	git archive --prefix=usher-$(VERSION)/ -o $(BUILD)/usher-$(VERSION).tar.gz HEAD

clean: ## remove build/
	rm -rf $(BUILD)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: all programs library units run check deps deps-check tests sanitize valgrind fuzz fuzz-build \
	format lint install uninstall dist clean help

# --- how it is built --------------------------------------------------------------------------

# Objects are made anew when the compiler or its flags change.
STAMP = $(BUILD)/.flags
FLAGS_TEXT = $(subst ','\'',$(COMPILE) $(LINK))
$(STAMP): always
	@mkdir -p $(BUILD)
	@echo '$(FLAGS_TEXT)' | cmp -s - $@ || echo '$(FLAGS_TEXT)' > $@
.PHONY: always

# <usher/net.h> is one file in the tree, in build/include and where it is installed.
public_copy = $(BUILD)/include/usher/$(notdir $(1))
define copy_public
$(call public_copy,$(1)): $(1)
	@mkdir -p $$(@D) && cp $$< $$@
endef
$(foreach header,$(PUBLIC),$(eval $(call copy_public,$(header))))

$(BUILD)/%.o: %.c $(STAMP) | $(foreach header,$(PUBLIC),$(call public_copy,$(header)))
	@mkdir -p $(@D)
	@$(if $(V),,echo "  CC    $<")
	$(Q)$(COMPILE) -c -o $@ $<

$(BUILD)/common.a: $(call obj,$(COMMON_SRC))
$(BUILD)/daemon.a: $(call obj,$(DAEMON_SRC))
$(BUILD)/worker.a: $(call obj,$(WORKER_SRC))
$(BUILD)/helpers.a: $(call obj,$(HELPER_SRC))
ARCHIVES = $(BUILD)/common.a $(BUILD)/daemon.a $(BUILD)/worker.a $(BUILD)/helpers.a
$(ARCHIVES):
	@$(if $(V),,echo "  AR    $@")
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/usherd: $(BUILD)/daemon/main.o $(BUILD)/daemon.a $(BUILD)/common.a
$(BUILD)/usherctl: $(BUILD)/daemon/usherctl.o $(BUILD)/daemon.a $(BUILD)/common.a
$(BUILD)/usher-worker: $(BUILD)/worker/main.o $(BUILD)/worker.a $(BUILD)/common.a
$(PROGRAMS):
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(LINK) -pie -o $@ $^ $(LIBS)

# The library holds common/ alone; what it shows is what the symbol map lists.
SYMBOL_MAP = common/libusher.map
$(BUILD)/libusher.so.$(SOVERSION): $(call obj,$(COMMON_SRC)) $(SYMBOL_MAP)
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(LINK) -shared -Wl,-soname,$(@F) -Wl,--version-script=$(SYMBOL_MAP) -Wl,-z,defs -o $@ \
		$(filter %.o,$^) $(EV_LIBS)
$(BUILD)/libusher.so: $(BUILD)/libusher.so.$(SOVERSION)
	@ln -sf $(<F) $@
$(BUILD)/libusher.a: $(BUILD)/common.a
	@cp $< $@
$(BUILD)/usher.pc: common/usher.pc.in $(STAMP)
	@sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' $< > $@

# Units name the installed programs by their full paths.
$(addprefix $(BUILD)/,$(notdir $(UNITS))): $(BUILD)/%: systemd/% $(STAMP)
	@sed -e 's|@SBINDIR@|$(SBINDIR)|g' -e 's|@BINDIR@|$(BINDIR)|g' \
		-e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' $< > $@

# A test names the calls that it fakes in a comment "wrap: accept4 malloc".
wraps = $(foreach call,$(shell sed -n 's/.*[^a-z]wrap: \([a-z0-9_ ]*\).*/\1/p' $(1)),-Wl,--wrap=$(call))
TEST_LIBS = $(BUILD)/helpers.a $(BUILD)/daemon.a $(BUILD)/worker.a $(BUILD)/common.a

$(call exe,$(UNIT) $(INTEGRATION)): $(BUILD)/%: $(BUILD)/%.o $(TEST_LIBS)
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(LINK) -pie -o $@ $(call wraps,$*.c) $^ $(CMOCKA_LIBS) $(LIBS)
$(call exe,$(EXAMPLES)): $(BUILD)/%: $(BUILD)/%.o $(BUILD)/libusher.so
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(LINK) -pie -o $@ $< -L$(BUILD) -lusher $(EV_LIBS) -Wl,-rpath,'$$ORIGIN/../..'
$(call exe,$(FUZZ)): $(BUILD)/%: $(BUILD)/%.o $(TEST_LIBS)
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(LINK) -fsanitize=fuzzer -o $@ $^ $(LIBS)

-include $(ALL_OBJ:.o=.d)
