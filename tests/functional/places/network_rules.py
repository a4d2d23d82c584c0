"""What network file systems do differently from a local disk, rule by rule."""

RULES = {
    "no locks": "flock fails with ENOLCK, as on NFS without a lock service",
    "no such locks": "flock fails with EOPNOTSUPP",
    "locks of processes": "a process can lock what it has locked already, as with POSIX locks",
    "SMB locks": "a lock that is held answers EACCES, and nobody else can read the file",
    "open names stay": "open files, and folders above them, are neither renamed nor replaced",
    "silly names": "what is deleted while it is open keeps a name (.nfs...) until it is closed",
    "no chmod": "chmod fails, and every mode is 0777, as on FAT",
    "ignored chmod": "chmod changes nothing, and every mode is 0755, as on CIFS",
    "no folder sync": "fsync of a folder fails with EINVAL",
    "no links": "neither hard links nor symbolic links can be made",
    "no case": "names differ in more than case",
    "plain names": "names have no colon and end in neither a dot nor a space",
    "no exchange": "renameat2 takes no flags",
    "coarse times": "times are even seconds",
    "new numbers": "inode numbers change at every look",
    "no shared maps": "files cannot be mapped with MAP_SHARED",
}
NFS = ("silly names", "no exchange", "no folder sync")
SMB = (
    *("SMB locks", "open names stay", "ignored chmod", "no folder sync", "no links", "no case"),
    *("plain names", "no exchange", "coarse times", "new numbers", "no shared maps"),
)
