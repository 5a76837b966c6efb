/* store_map.c -- the size of the map, and that the file is as long as its pages.
 *
 * The map reserves address space, not memory: 1 TiB where the system allows, so that growing is rare. Growing needs
 * that no transaction of this process runs: map_lock is held shared by every transaction and exclusively by the resize.
 */
#include "memstore/store_internal.h"

#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The map grows by multiples of MAP_STEP, and leaves HEADROOM of address space for everything else: reading and
 * checking what is there must go on when nothing more can be written. */
enum { MAP_STEP = 1 << 20, HEADROOM = 8 << 20 };

/* LMDB unmaps before it maps anew and has no way back: ask first whether the system has the room. */
static bool has_address_space(uint64_t bytes)
{
    void *probe = mmap(NULL, (size_t)bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (probe == MAP_FAILED) return false;
    munmap(probe, (size_t)bytes);
    return true;
}

/* Make the map `wanted` bytes long, or as much over `least` as there is room for. map_lock is held exclusively. LMDB is
 * left without a map when the system refuses one: then env is closed, and opened anew by the next transaction. */
static mneme_status resize_map(mn_store *store, uint64_t least, uint64_t wanted, mneme_error *error)
{
    MDB_envinfo info;
    int code = ENOMEM;
    bool fits = false;
    mdb_env_info(store->env, &info);
    for (;; wanted = least + (wanted - least) / 2 / MAP_STEP * MAP_STEP) {
        fits = wanted <= info.me_mapsize || has_address_space(wanted - info.me_mapsize + HEADROOM);
        if (fits) code = mdb_env_set_mapsize(store->env, (size_t)wanted);
        if (fits || wanted <= least) break;
    }
    if (code == 0) return MNEME_OK;
    if (fits) {
        mdb_env_close(store->env);
        store->env = NULL;
    }
    return mn_fail_errno(error, code, "cannot map %llu MiB of store %s; allow more address space (ulimit -v)",
                         (unsigned long long)(least >> 20), store->path);
}

mneme_status mn_map_grow(mn_store *store, mneme_error *error)
{
    MDB_envinfo info;
    mneme_status status = MNEME_OK;
    pthread_rwlock_wrlock(&store->map_lock);
    if (store->env) { /* else the next transaction opens it */
        mdb_env_info(store->env, &info);
        uint64_t step = info.me_mapsize < ((uint64_t)1 << 30) ? info.me_mapsize : (uint64_t)1 << 30;
        status = resize_map(store, info.me_mapsize + MAP_STEP, info.me_mapsize + (step > MAP_STEP ? step : MAP_STEP), error);
    }
    pthread_rwlock_unlock(&store->map_lock);
    return status;
}

mneme_status mn_map_follow_alone(mn_store *store, mneme_error *error)
{
    MDB_envinfo info;
    MDB_stat stat_of;
    mdb_env_info(store->env, &info);
    mdb_env_stat(store->env, &stat_of);
    uint64_t used = ((uint64_t)info.me_last_pgno + 1) * stat_of.ms_psize, least = (used / MAP_STEP + 1) * MAP_STEP;
    return resize_map(store, least, least > 2 * info.me_mapsize ? least : 2 * info.me_mapsize, error);
}

mneme_status mn_map_follow(mn_store *store, mneme_error *error)
{
    pthread_rwlock_wrlock(&store->map_lock);
    mneme_status status = store->env ? mn_map_follow_alone(store, error) : MNEME_OK;
    pthread_rwlock_unlock(&store->map_lock);
    return status;
}

/* The data file is at least as long as its pages, or LMDB would run into SIGBUS where one is missing: make up for a
 * file that was cut short with zeros, which LMDB and `check` name as damage. (LMDB itself may leave a tail of unused
 * pages unwritten, so that a short file is not damage in itself.) */
mneme_status mn_map_fill_short_file(mn_store *store, mneme_error *error)
{
    MDB_envinfo info;
    MDB_stat stat_of;
    struct stat file;
    mdb_env_info(store->env, &info);
    mdb_env_stat(store->env, &stat_of);
    int fd = -1, code = mdb_env_get_fd(store->env, &fd);
    uint64_t whole = ((uint64_t)info.me_last_pgno + 1) * stat_of.ms_psize;
    if (code == 0 && fstat(fd, &file) != 0) code = errno;
    if (code != 0) return mn_fail_errno(error, code, "cannot open store %s", store->path);
    if ((uint64_t)file.st_size >= whole) return MNEME_OK;
    char *path = mn_path_join(store->path, "data.mdb");
    if (!path) return mn_fail_memory(error, "store");
    fd = open(path, O_RDWR | O_CLOEXEC);
    mn_free(path);
    /* fallocate never shortens, whatever another process does at the same time. */
    code = fd < 0 ? errno : posix_fallocate(fd, (off_t)whole - 1, 1);
    if (fd >= 0) close(fd);
    if (code == 0) return MNEME_OK;
    return mn_fail(error, code == ENOSPC ? MNEME_ERR_DISK_FULL : MNEME_ERR_DAMAGED,
                   "%s/data.mdb has %llu bytes of %llu and cannot be made longer: %s", store->path,
                   (unsigned long long)file.st_size, (unsigned long long)whole, strerror(code));
}
