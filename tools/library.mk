# libencrypt and what is installed; included by the Makefile.

VERSION := $(shell sed -n 's/^.define ENCRYPT_VERSION "\(.*\)"/\1/p' provisioner/encrypt.h)
SONAME := libencrypt.so.0
SO := $(B)/libencrypt.so.$(VERSION)
MAP := provisioner/libencrypt.map
LIBRARIES := $(B)/libencrypt.a $(SO) $(B)/$(SONAME) $(B)/libencrypt.so
LIBRARY_PACKAGES := libcurl jansson libcrypto

.PHONY: library install uninstall check-install
library: $(LIBRARIES)

# Debian's static libyaml, with the allocator that wipes: it has no hooks for that.
$(B)/libyaml.a: $(shell $(CC) -print-file-name=libyaml.a)
	@mkdir -p $(@D)
	@objcopy $(foreach f,malloc realloc free strdup,--redefine-sym $(f)=wipe_$(f)) $< $@
# Who links with base/ needs it.
$(B)/libbase.a: | $(B)/libyaml.a

# One object, with libssh2 and libyaml inside, in which only the public names are global: it collides with nothing in a host.
$(B)/libencrypt.o: $(ARCHIVES) $(B)/libyaml.a $(LIBSSH2)/lib/libssh2.a $(MAP)
	@echo LD $@
	@ld -r -o $@.all $(foreach a,$(AREAS),$(call objects,$(a))) $(B)/libyaml.a $(LIBSSH2)/lib/libssh2.a
	@sed -n 's/^ *\(encrypt_[a-z_]*\);$$/\1/p' $(MAP) >$(B)/libencrypt.names
	@objcopy --keep-global-symbols=$(B)/libencrypt.names $@.all $@
	@rm -f $@.all

$(B)/libencrypt.a: $(B)/libencrypt.o
	@rm -f $@ && $(AR) rcs $@ $<

# nodelete: allocator hooks of other libraries point into it.
$(SO): $(B)/libencrypt.o
	@echo LD $@
	@$(CC) -shared $(filter-out -pie,$(LDFLAGS)) -Wl,-z,nodelete $(if $(filter asan,$(VARIANT)),,-Wl$(,)-z$(,)defs) \
	    -Wl,-soname,$(SONAME) -Wl,--version-script,$(MAP) -o $@ $< $(shell pkg-config --libs $(LIBRARY_PACKAGES) 2>/dev/null)
$(B)/$(SONAME) $(B)/libencrypt.so: $(SO)
	@ln -sf $(<F) $@

# The command line on the shared library: it has nothing of the engine but what every host has.
$(B)/encrypt-shared: $(call objects,cmd) $(B)/libbase.a $(LIBRARIES)
	@echo LD $@
	@$(CC) $(LDFLAGS) -o $@ $(call objects,cmd) $(B)/libbase.a -L$(B) -lencrypt -ljansson -Wl,-rpath,'$$ORIGIN'

DESTDIR ?=
prefix ?= /usr/local
bindir ?= $(prefix)/bin
libdir ?= $(prefix)/lib
includedir ?= $(prefix)/include
mandir ?= $(prefix)/share/man
docdir ?= $(prefix)/share/doc/encrypt
pkgconfigdir ?= $(libdir)/pkgconfig

DOCS := README.md $(wildcard docs/*.md)
EXAMPLES := $(sort $(shell find examples -type f -not -name provisioner 2>/dev/null))
# What uninstall removes, and its folder of documents where that is empty then.
INSTALLED := $(bindir)/encrypt $(bindir)/kubectl-encrypt \
    $(libdir)/libencrypt.a $(libdir)/$(notdir $(SO)) $(libdir)/$(SONAME) $(libdir)/libencrypt.so \
    $(includedir)/encrypt.h $(pkgconfigdir)/encrypt.pc \
    $(mandir)/man1/encrypt.1 $(mandir)/man1/kubectl-encrypt.1 \
    $(DOCS:%=$(docdir)/%) $(EXAMPLES:%=$(docdir)/%)
DOC_FOLDERS := $(sort $(patsubst %/,$(docdir)/%,$(dir $(DOCS) $(EXAMPLES))))

install: $(B)/encrypt $(LIBRARIES)
	install -d $(addprefix $(DESTDIR),$(bindir) $(libdir) $(includedir) $(pkgconfigdir) $(mandir)/man1 $(DOC_FOLDERS))
	install -m 755 $(B)/encrypt $(DESTDIR)$(bindir)/encrypt
	ln -sf encrypt $(DESTDIR)$(bindir)/kubectl-encrypt
	install -m 644 $(B)/libencrypt.a $(SO) $(DESTDIR)$(libdir)
	ln -sf $(notdir $(SO)) $(DESTDIR)$(libdir)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(libdir)/libencrypt.so
	install -m 644 provisioner/encrypt.h $(DESTDIR)$(includedir)/encrypt.h
	sed -e 's|@prefix@|$(prefix)|; s|@libdir@|$(libdir:$(prefix)/%=$${prefix}/%)|; s|@includedir@|$(includedir:$(prefix)/%=$${prefix}/%)|; s|@version@|$(VERSION)|' \
	    provisioner/encrypt.pc.in >$(DESTDIR)$(pkgconfigdir)/encrypt.pc
	chmod 644 $(DESTDIR)$(pkgconfigdir)/encrypt.pc
	install -m 644 docs/man/encrypt.1 $(DESTDIR)$(mandir)/man1/encrypt.1
	ln -sf encrypt.1 $(DESTDIR)$(mandir)/man1/kubectl-encrypt.1
	for f in $(DOCS) $(EXAMPLES); do \
	    if [ -x "$$f" ]; then m=755; else m=644; fi; install -m $$m "$$f" "$(DESTDIR)$(docdir)/$$f" || exit 1; done
	$(if $(DESTDIR),,ldconfig 2>/dev/null || true)

uninstall:
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	[ ! -d $(DESTDIR)$(docdir) ] || find $(DESTDIR)$(docdir) -depth -type d -empty -delete
	$(if $(DESTDIR),,ldconfig 2>/dev/null || true)

check-install: all $(B)/encrypt-shared
	B=$(B) tests/install/run
