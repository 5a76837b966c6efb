# FAISS with its C API, as scripts/setup leaves it in the cache, or the system's (1.11 or newer).
#
#   MNEME_FAISS_DIR    folder with include/faiss/c_api and lib; default: <cache>/faiss-<version>-<level>
#   MNEME_FAISS_LEVEL  avx512 or avx2: which build; default: what this processor has
#
# Defines FaissC::FaissC and MNEME_FAISS_LEVEL ("generic" for a system library).

set(MNEME_FAISS_VERSION 1.12.0)
if(DEFINED ENV{XDG_CACHE_HOME} AND NOT "$ENV{XDG_CACHE_HOME}" STREQUAL "")
  set(MNEME_CACHE_DIR "$ENV{XDG_CACHE_HOME}/mneme")
else()
  set(MNEME_CACHE_DIR "$ENV{HOME}/.cache/mneme")
endif()

if(NOT MNEME_FAISS_LEVEL)
  file(STRINGS /proc/cpuinfo _flags REGEX "^flags" LIMIT_COUNT 1)
  if(_flags MATCHES " avx512f" AND _flags MATCHES " avx512cd" AND _flags MATCHES " avx512vl"
     AND _flags MATCHES " avx512dq" AND _flags MATCHES " avx512bw")
    set(MNEME_FAISS_LEVEL avx512)
  else()
    set(MNEME_FAISS_LEVEL avx2)
  endif()
endif()
set(MNEME_FAISS_DIR "${MNEME_CACHE_DIR}/faiss-${MNEME_FAISS_VERSION}-${MNEME_FAISS_LEVEL}"
    CACHE PATH "FAISS with its C API")

find_library(FAISS_C_SYSTEM_LIBRARY faiss_c)
find_path(FAISS_C_INCLUDE_DIR faiss/c_api/utils/distances_c.h
          HINTS "${MNEME_FAISS_DIR}/include" NO_DEFAULT_PATH)
find_library(FAISS_C_LIBRARY "faiss_c_${MNEME_FAISS_LEVEL}" HINTS "${MNEME_FAISS_DIR}/lib" NO_DEFAULT_PATH)
find_library(FAISS_LIBRARY "faiss_${MNEME_FAISS_LEVEL}" HINTS "${MNEME_FAISS_DIR}/lib" NO_DEFAULT_PATH)

# The one-threaded OpenBLAS, for FAISS and for encoder/train/principal.c, loaded when it is first called (common/blas.h).
find_library(OPENBLAS_LIBRARY openblas
             HINTS /usr/lib/x86_64-linux-gnu/openblas-serial /usr/lib/x86_64-linux-gnu/openblas-pthread)
if(NOT OPENBLAS_LIBRARY)
  message(FATAL_ERROR "OpenBLAS is missing: run scripts/setup")
endif()

add_library(FaissC::FaissC INTERFACE IMPORTED)
if(FAISS_C_INCLUDE_DIR AND FAISS_C_LIBRARY AND FAISS_LIBRARY)
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  target_include_directories(FaissC::FaissC SYSTEM INTERFACE "${FAISS_C_INCLUDE_DIR}")
  target_link_libraries(FaissC::FaissC INTERFACE
    "${FAISS_C_LIBRARY}" "${FAISS_LIBRARY}" OpenMP::OpenMP_CXX stdc++ m)
  set(MNEME_FAISS_PRIVATE_LIBS
    "${FAISS_C_LIBRARY} ${FAISS_LIBRARY} -lgomp -lstdc++ -lm")
elseif(FAISS_C_SYSTEM_LIBRARY)
  set(MNEME_FAISS_LEVEL generic)
  target_link_libraries(FaissC::FaissC INTERFACE "${FAISS_C_SYSTEM_LIBRARY}")
  set(MNEME_FAISS_PRIVATE_LIBS "-lfaiss_c")
else()
  message(FATAL_ERROR "FAISS with its C API is not in ${MNEME_FAISS_DIR}: run scripts/setup")
endif()
