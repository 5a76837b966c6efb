/* reindex_file.c -- the vectors of an unfinished reindex.
 *
 *     | head: 64 bytes | entry | entry | ...        entry: | hash 16 | ns | rec | sum | 0 | vector: dimension floats |
 *
 * Entries are written one after the other and each has its own checksum, so any of them may be missing, torn or zero
 * after a crash: those are not counted as ready, and that is all. One of a forgotten record is overwritten with zeros,
 * which do not fit a checksum either. */
#include "memory/reindex_file.h"

#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#define FILE_NAME "reindex.vectors"
enum { MOST_DIMENSION = 65536, READ_BYTES = 1 << 20 };

typedef struct file_head {
    char magic[8];
    uint32_t version, dimension;
    uint64_t fingerprint;
    uint64_t unused[4];
    uint64_t sum; /* of all before it */
} file_head;
_Static_assert(sizeof(file_head) == 64, "as the file has it");

typedef struct entry_head {
    mn_ready_key key;
    uint32_t sum, unused;
} entry_head;
_Static_assert(sizeof(entry_head) == 32, "as the file has it");

struct mn_ready_file {
    int fd;
    char *path;
    uint32_t dimension;
    size_t entry_bytes;
    size_t n, n_right, capacity; /* places in the file; of them sound */
    uint64_t (*hashes)[2];       /* by number; both 0: not to be used */
    size_t *slots;               /* hash table: number + 1, or 0; a power of two, at least twice n */
    size_t n_slots;
    unsigned char *entry; /* room for one */
};

mn_ready_key mn_ready_key_of(const char *text, size_t size, uint32_t ns, uint32_t rec)
{
    XXH128_hash_t hash = XXH3_128bits(text, size);
    return (mn_ready_key){.hash = {hash.low64, hash.high64}, .ns = ns, .rec = rec};
}

/* ---- bytes ---- */

static mneme_status write_at(const mn_ready_file *file, const void *data, size_t size, uint64_t at, mneme_error *error)
{
    for (const char *from = data; size;) {
        ssize_t n = pwrite(file->fd, from, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return mn_fail_errno(error, n < 0 ? errno : ENOSPC, "cannot write %s", file->path);
        from += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return MNEME_OK;
}

/* *got: fewer than asked at the end of the file. */
static mneme_status read_at(const mn_ready_file *file, void *data, size_t size, uint64_t at, size_t *got,
                            mneme_error *error)
{
    char *to = data;
    for (*got = 0; *got < size;) {
        ssize_t n = pread(file->fd, to + *got, size - *got, (off_t)(at + *got));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return mn_fail_errno(error, errno, "cannot read %s", file->path);
        if (n == 0) break;
        *got += (size_t)n;
    }
    return MNEME_OK;
}

static uint64_t place_of(const mn_ready_file *file, size_t number)
{
    return sizeof(file_head) + (uint64_t)number * file->entry_bytes;
}

static uint32_t sum_of(const mn_ready_file *file, const unsigned char *entry)
{
    XXH64_hash_t key = XXH3_64bits(entry, sizeof(mn_ready_key));
    return (uint32_t)XXH3_64bits_withSeed(entry + sizeof(entry_head), file->dimension * sizeof(float), key);
}

/* Is it an entry, and not torn? */
static bool is_right(const mn_ready_file *file, const unsigned char *entry, mn_ready_key *key)
{
    entry_head head;
    memcpy(&head, entry, sizeof head);
    *key = head.key;
    return (key->hash[0] || key->hash[1]) && head.sum == sum_of(file, entry);
}

/* ---- the table ---- */

static size_t *slot_of(const mn_ready_file *file, const uint64_t hash[2])
{
    size_t at = (size_t)hash[0] & (file->n_slots - 1);
    while (file->slots[at]) {
        const uint64_t *there = file->hashes[file->slots[at] - 1];
        if (there[0] == hash[0] && there[1] == hash[1]) break;
        at = (at + 1) & (file->n_slots - 1);
    }
    return &file->slots[at];
}

static mneme_status reserve(mn_ready_file *file, size_t more, mneme_error *error)
{
    size_t needed = file->n + more, capacity = file->capacity ? file->capacity : 1024;
    if (needed <= file->capacity) return MNEME_OK;
    while (capacity < needed) capacity *= 2;
    uint64_t(*hashes)[2] = mn_realloc_array(file->hashes, capacity, sizeof *hashes);
    if (hashes) file->hashes = hashes;
    size_t *slots = mn_alloc_zeroed(capacity * 2, sizeof *slots);
    if (!hashes || !slots) {
        mn_free(slots);
        return mn_fail_memory(error, "vectors that are ready");
    }
    mn_free(file->slots);
    file->slots = slots;
    file->n_slots = capacity * 2;
    file->capacity = capacity;
    for (size_t i = 0; i < file->n; i++)
        if (file->hashes[i][0] || file->hashes[i][1]) *slot_of(file, file->hashes[i]) = i + 1;
    return MNEME_OK;
}

/* Count the entry at the end of the file. Room is reserved. */
static void note(mn_ready_file *file, const mn_ready_key *key)
{
    size_t number = file->n++;
    memset(file->hashes[number], 0, sizeof file->hashes[number]);
    if (!key || *slot_of(file, key->hash)) return; /* torn, or there twice */
    memcpy(file->hashes[number], key->hash, sizeof key->hash);
    *slot_of(file, key->hash) = number + 1;
    file->n_right++;
}

/* ---- every entry of the file ---- */

typedef bool (*visit_entry)(void *context, size_t number, const unsigned char *entry);

/* In their order, some at a time; visit returns false for an error, which it has set. */
static mneme_status each_entry(const mn_ready_file *file, visit_entry visit, void *context, mneme_error *error)
{
    size_t together = READ_BYTES / file->entry_bytes + 1, got = 0, number = 0;
    unsigned char *bytes = mn_alloc_array(together, file->entry_bytes);
    mneme_status status = bytes ? MNEME_OK : mn_fail_memory(error, "vectors that are ready");
    bool more = true, goes_on = true;
    while (status == MNEME_OK && more && goes_on) {
        status = read_at(file, bytes, together * file->entry_bytes, place_of(file, number), &got, error);
        more = status == MNEME_OK && got == together * file->entry_bytes;
        for (size_t at = 0; status == MNEME_OK && goes_on && at + file->entry_bytes <= got; at += file->entry_bytes)
            goes_on = visit(context, number++, bytes + at);
    }
    mn_free(bytes);
    return status;
}

typedef struct loading {
    mn_ready_file *file;
    mneme_status status;
    mneme_error *error;
} loading;

static bool load_entry(void *context, size_t number, const unsigned char *entry)
{
    loading *l = context;
    mn_ready_key key;
    (void)number;
    l->status = reserve(l->file, 1, l->error);
    if (l->status != MNEME_OK) return false;
    note(l->file, is_right(l->file, entry, &key) ? &key : NULL);
    return true;
}

/* ---- opening ---- */

static file_head head_for(uint32_t dimension, uint64_t fingerprint)
{
    file_head head = {.magic = {'m', 'n', 'e', 'm', 'e', 'r', 'e', 'x'},
                      .version = 1,
                      .dimension = dimension,
                      .fingerprint = fingerprint};
    head.sum = XXH3_64bits(&head, offsetof(file_head, sum));
    return head;
}

static bool head_is_right(const file_head *head)
{
    const file_head like = head_for(head->dimension, head->fingerprint);
    return memcmp(&like, head, sizeof like) == 0 && head->dimension > 0 && head->dimension <= MOST_DIMENSION;
}

static mneme_status lock_whole(const mn_ready_file *file, const mn_store *store, mneme_error *error)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file->fd, F_OFD_SETLK, &whole) == 0) return MNEME_OK;
    if (errno == EAGAIN || errno == EACCES)
        return mn_fail(error, MNEME_ERR_BUSY, "another reindex of store %s is running; wait for it, or stop it",
                       mn_store_path(store));
    return mn_fail_errno(error, errno, "cannot lock %s", file->path);
}

/* The file that has this name may have been deleted before it was locked. */
static bool is_current(const mn_ready_file *file)
{
    struct stat open_one, named;
    return fstat(file->fd, &open_one) == 0 && stat(file->path, &named) == 0 && open_one.st_ino == named.st_ino &&
           open_one.st_dev == named.st_dev;
}

/* Open and lock it. file->fd -1 with MNEME_OK: there is none. */
static mneme_status open_locked(mn_ready_file *file, const mn_store *store, bool create, mneme_error *error)
{
    for (;;) {
        file->fd = open(file->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
        if (file->fd < 0 && errno == ENOENT && !create) return MNEME_OK;
        if (file->fd < 0) return mn_fail_errno(error, errno, "cannot open %s", file->path);
        mneme_status status = lock_whole(file, store, error);
        if (status != MNEME_OK || is_current(file)) return status;
        close(file->fd);
    }
}

static void set_dimension(mn_ready_file *file, uint32_t dimension)
{
    file->dimension = dimension;
    file->entry_bytes = sizeof(entry_head) + dimension * sizeof(float);
}

static mneme_status begin_anew(mn_ready_file *file, const mn_encoder_stamp *stamp, mneme_error *error)
{
    const file_head head = head_for(stamp->dimension, stamp->fingerprint);
    set_dimension(file, stamp->dimension);
    if (ftruncate(file->fd, 0) != 0) return mn_fail_errno(error, errno, "cannot write %s", file->path);
    return write_at(file, &head, sizeof head, 0, error);
}

static mneme_status load(mn_ready_file *file, const mn_encoder_stamp *stamp, bool create, mneme_error *error)
{
    file_head head;
    size_t got = 0;
    mneme_status status = read_at(file, &head, sizeof head, 0, &got, error);
    if (status != MNEME_OK) return status;
    bool fits = got == sizeof head && head_is_right(&head) && head.fingerprint == stamp->fingerprint &&
                head.dimension == stamp->dimension;
    if (!fits && create) return begin_anew(file, stamp, error);
    set_dimension(file, stamp->dimension);
    if (!fits) return MNEME_OK;
    loading l = {.file = file, .error = error};
    status = each_entry(file, load_entry, &l, error);
    return status == MNEME_OK ? l.status : status;
}

static mneme_status new_file(const mn_store *store, mn_ready_file **out, mneme_error *error)
{
    mn_ready_file *file = mn_alloc_zeroed(1, sizeof *file);
    *out = file;
    if (!file) return mn_fail_memory(error, "vectors that are ready");
    file->fd = -1;
    file->path = mn_path_join(mn_store_folder(store), FILE_NAME);
    return file->path ? MNEME_OK : mn_fail_memory(error, "vectors that are ready");
}

mneme_status mn_ready_open(const mn_store *store, const mn_encoder_stamp *stamp, bool create, mn_ready_file **out,
                           mneme_error *error)
{
    mn_ready_file *file = NULL;
    *out = NULL;
    mneme_status status = new_file(store, &file, error);
    if (status == MNEME_OK) status = open_locked(file, store, create, error);
    bool any = status == MNEME_OK && file->fd >= 0;
    if (any) status = load(file, stamp, create, error);
    if (any && status == MNEME_OK) status = reserve(file, 1, error);
    if (any && status == MNEME_OK && !(file->entry = mn_alloc(file->entry_bytes)))
        status = mn_fail_memory(error, "vectors that are ready");
    if (!any || status != MNEME_OK)
        mn_ready_close(file);
    else
        *out = file;
    return status;
}

void mn_ready_close(mn_ready_file *file)
{
    if (!file) return;
    if (file->fd >= 0) close(file->fd);
    mn_free(file->entry);
    mn_free(file->slots);
    mn_free(file->hashes);
    mn_free(file->path);
    mn_free(file);
}

void mn_ready_remove(mn_ready_file *file)
{
    if (file && file->fd >= 0) unlink(file->path);
    mn_ready_close(file);
}

/* ---- finding, putting, reading ---- */

size_t mn_ready_find(const mn_ready_file *file, const mn_ready_key *key)
{
    size_t slot = *slot_of(file, key->hash);
    return slot ? slot - 1 : MN_NOT_READY;
}

void mn_ready_drop(mn_ready_file *file, size_t number)
{
    uint64_t *hash = file->hashes[number];
    file->n_right -= hash[0] || hash[1];
    hash[0] = hash[1] = 0; /* its slot stays, as one that fits nothing */
}

size_t mn_ready_count(const mn_ready_file *file)
{
    return file->n_right;
}

mneme_status mn_ready_put(mn_ready_file *file, const mn_ready_key *keys, const float *vectors, size_t n, size_t *first,
                          mneme_error *error)
{
    *first = file->n;
    mneme_status status = reserve(file, n, error);
    unsigned char *bytes = status == MNEME_OK ? mn_alloc_array(n, file->entry_bytes) : NULL;
    if (status == MNEME_OK && !bytes) status = mn_fail_memory(error, "vectors that are ready");
    for (size_t i = 0; i < n && status == MNEME_OK; i++) {
        unsigned char *entry = bytes + i * file->entry_bytes;
        entry_head head = {.key = keys[i]};
        memcpy(entry + sizeof head, vectors + i * file->dimension, file->dimension * sizeof *vectors);
        memcpy(entry, &head, sizeof head);
        head.sum = sum_of(file, entry);
        memcpy(entry, &head, sizeof head);
    }
    if (status == MNEME_OK) status = write_at(file, bytes, n * file->entry_bytes, place_of(file, file->n), error);
    for (size_t i = 0; i < n && status == MNEME_OK; i++) note(file, &keys[i]);
    mn_free(bytes);
    return status;
}

mneme_status mn_ready_check_space(const mn_ready_file *file, uint64_t n, mneme_error *error)
{
    struct statvfs info;
    uint64_t needed = n * file->entry_bytes;
    if (fstatvfs(file->fd, &info) != 0) return mn_fail_errno(error, errno, "cannot look at the disk of %s", file->path);
    uint64_t free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    if (free_bytes >= needed) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_DISK_FULL,
                   "%s takes up to %llu MB of free disk space until the store is re-encoded, there are %llu MB; the "
                   "store is as it was",
                   file->path, (unsigned long long)((needed + 999999) / 1000000),
                   (unsigned long long)(free_bytes / 1000000));
}

mneme_status mn_ready_sync(mn_ready_file *file, mneme_error *error)
{
    if (fdatasync(file->fd) == 0) return MNEME_OK;
    return mn_fail_errno(error, errno, "cannot write %s", file->path);
}

mneme_status mn_ready_read(mn_ready_file *file, size_t number, float *out, mneme_error *error)
{
    size_t got = 0;
    mn_ready_key key;
    mneme_status status = read_at(file, file->entry, file->entry_bytes, place_of(file, number), &got, error);
    if (status != MNEME_OK) return status;
    if (got != file->entry_bytes || !is_right(file, file->entry, &key))
        return mn_fail(error, MNEME_ERR_DAMAGED, "vector %zu in %s does not fit its checksum", number, file->path);
    memcpy(out, file->entry + sizeof(entry_head), file->dimension * sizeof *out);
    return MNEME_OK;
}

/* ---- what is forgotten ---- */

typedef struct census {
    mn_ready_file *file;
    mn_read *read;
    bool scrubs;
    unsigned char *zeros; /* one entry of them, when it scrubs */
    uint32_t ns, rec;     /* looked up last */
    bool lives;
    uint64_t n_dead;
    mneme_status status;
    mneme_error *error;
} census;

static bool look_up(census *c, const mn_ready_key *key)
{
    mn_record record;
    if (key->ns == c->ns && key->rec == c->rec) return true;
    c->status = mn_read_record(c->read, key->ns, key->rec, &record, c->error);
    c->lives = c->status == MNEME_OK;
    if (c->status == MNEME_ERR_NOT_FOUND) c->status = MNEME_OK;
    c->ns = key->ns;
    c->rec = key->rec;
    return c->status == MNEME_OK;
}

/* A torn entry may hold what is forgotten as well: nobody can use it, so it goes, too. */
static bool count_entry(void *context, size_t number, const unsigned char *entry)
{
    census *c = context;
    mn_ready_key key;
    bool right = is_right(c->file, entry, &key);
    if (!right && memcmp(entry, c->zeros, c->file->entry_bytes) == 0) return true;
    if (right && (!look_up(c, &key) || c->lives)) return c->status == MNEME_OK;
    c->n_dead++;
    if (c->scrubs) c->status = write_at(c->file, c->zeros, c->file->entry_bytes, place_of(c->file, number), c->error);
    return c->status == MNEME_OK;
}

static mneme_status cut_torn_end(const mn_ready_file *file, mneme_error *error)
{
    struct stat info;
    if (fstat(file->fd, &info) != 0) return mn_fail_errno(error, errno, "cannot read %s", file->path);
    uint64_t size = (uint64_t)info.st_size;
    uint64_t torn = size > sizeof(file_head) ? (size - sizeof(file_head)) % file->entry_bytes : 0;
    if (torn == 0 || ftruncate(file->fd, (off_t)(size - torn)) == 0) return MNEME_OK;
    return mn_fail_errno(error, errno, "cannot write %s", file->path);
}

static mneme_status run_census(mn_ready_file *file, mn_read *read, bool scrubs, uint64_t *n_dead, mneme_error *error)
{
    census c = {.file = file, .read = read, .scrubs = scrubs, .error = error};
    c.zeros = mn_alloc_zeroed(1, file->entry_bytes);
    if (!c.zeros) return mn_fail_memory(error, "vectors that are ready");
    mneme_status status = each_entry(file, count_entry, &c, error);
    if (status == MNEME_OK) status = c.status;
    if (status == MNEME_OK && scrubs) status = cut_torn_end(file, error);
    if (status == MNEME_OK && scrubs && c.n_dead) status = mn_ready_sync(file, error);
    *n_dead = c.n_dead;
    mn_free(c.zeros);
    return status;
}

void mn_ready_scrub(mn_ready_file *file, mn_store *store)
{
    mn_read *read = NULL;
    uint64_t n_dead = 0;
    mneme_status status = mn_read_begin(store, &read, NULL);
    if (status == MNEME_OK) status = run_census(file, read, true, &n_dead, NULL);
    mn_read_end(read);
    if (status != MNEME_OK) unlink(file->path);
}

/* The store's file as it is, for whatever encoder; *out NULL: there is none, it holds nothing, someone has it open, or
 * it may not be written to. */
static mneme_status open_any(const mn_store *store, mn_ready_file **out, mneme_error *error)
{
    mn_ready_file *file = NULL;
    file_head head;
    size_t got = 0;
    *out = NULL;
    mneme_status status = new_file(store, &file, error);
    if (status == MNEME_OK) status = open_locked(file, store, false, error);
    if (status == MNEME_OK && file->fd >= 0) status = read_at(file, &head, sizeof head, 0, &got, error);
    if (status == MNEME_OK && got == sizeof head && head_is_right(&head)) {
        set_dimension(file, head.dimension);
        *out = file;
        return MNEME_OK;
    }
    mn_ready_close(file);
    return status == MNEME_ERR_BUSY || status == MNEME_ERR_PERMISSION ? MNEME_OK : status;
}

void mn_ready_scrub_store(mn_store *store)
{
    mn_ready_file *file = NULL;
    if (open_any(store, &file, NULL) == MNEME_OK && file) mn_ready_scrub(file, store);
    mn_ready_close(file);
}

mneme_status mn_ready_count_dead(mn_store *store, mn_read *read, uint64_t *n, mneme_error *error)
{
    mn_ready_file *file = NULL;
    *n = 0;
    mneme_status status = open_any(store, &file, error);
    if (status == MNEME_OK && file) status = run_census(file, read, false, n, error);
    mn_ready_close(file);
    return status;
}
