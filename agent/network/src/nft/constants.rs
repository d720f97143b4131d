//! Numbers of the kernel's nf_tables interface (`linux/netfilter/nf_tables.h`, `nfnetlink.h`, `netfilter.h`), by
//! their names there.

/// `enum nf_tables_msg_types`.
pub mod message {
    pub const NEWTABLE: u8 = 0;
    pub const GETTABLE: u8 = 1;
    pub const DELTABLE: u8 = 2;
    pub const NEWCHAIN: u8 = 3;
    pub const GETCHAIN: u8 = 4;
    pub const DELCHAIN: u8 = 5;
    pub const NEWRULE: u8 = 6;
    pub const GETRULE: u8 = 7;
    pub const DELRULE: u8 = 8;
    pub const NEWSET: u8 = 9;
    pub const DELSET: u8 = 11;
    pub const NEWSETELEM: u8 = 12;
    pub const DELSETELEM: u8 = 14;
}

pub const NFNL_SUBSYS_NFTABLES: u8 = 10;
pub const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
pub const NFNL_MSG_BATCH_END: u16 = 0x11;
pub const NFPROTO_UNSPEC: u8 = 0;
pub const NFPROTO_IPV4: u8 = 2;

pub const NFTA_LIST_ELEM: u16 = 1;

pub mod table {
    pub const NAME: u16 = 1;
    pub const USERDATA: u16 = 6;
}

pub mod chain {
    pub const TABLE: u16 = 1;
    pub const NAME: u16 = 3;
    pub const HOOK: u16 = 4;
    pub const POLICY: u16 = 5;
    pub const TYPE: u16 = 7;
    pub const HOOK_HOOKNUM: u16 = 1;
    pub const HOOK_PRIORITY: u16 = 2;
}

pub mod rule {
    pub const TABLE: u16 = 1;
    pub const CHAIN: u16 = 2;
    pub const HANDLE: u16 = 3;
    pub const EXPRESSIONS: u16 = 4;
    pub const USERDATA: u16 = 7;
}

pub mod set {
    pub const TABLE: u16 = 1;
    pub const NAME: u16 = 2;
    pub const FLAGS: u16 = 3;
    pub const KEY_TYPE: u16 = 4;
    pub const KEY_LEN: u16 = 5;
    pub const DATA_TYPE: u16 = 6;
    pub const DATA_LEN: u16 = 7;
    pub const DESC: u16 = 9;
    pub const ID: u16 = 10;
    pub const TIMEOUT: u16 = 11;
    pub const DESC_SIZE: u16 = 1;

    pub const ANONYMOUS: u32 = 0x1;
    pub const CONSTANT: u32 = 0x2;
    pub const MAP: u32 = 0x8;
    pub const WITH_TIMEOUT: u32 = 0x10;
    pub const EVAL: u32 = 0x20;
}

pub mod element {
    pub const KEY: u16 = 1;
    pub const DATA: u16 = 2;
    pub const LIST_TABLE: u16 = 1;
    pub const LIST_SET: u16 = 2;
    pub const LIST_ELEMENTS: u16 = 3;
    pub const LIST_SET_ID: u16 = 4;
}

pub mod data {
    pub const VALUE: u16 = 1;
    pub const VERDICT: u16 = 2;
    pub const VERDICT_CODE: u16 = 1;
    pub const VERDICT_CHAIN: u16 = 2;
    /// `NFT_DATA_VERDICT`, as the type of a map's data.
    pub const VERDICT_TYPE: u32 = 0xffff_ff00;
}

/// Types as `nft` names them when it lists sets; the kernel keeps them without looking.
pub mod datatype {
    pub const INTEGER: u32 = 4;
    pub const IPV4_ADDR: u32 = 7;
    pub const INET_PROTO: u32 = 12;
    pub const INET_SERVICE: u32 = 13;
    /// Bits that one type takes in a concatenation.
    pub const BITS: u32 = 6;
}

pub mod verdict {
    pub const DROP: i32 = 0;
    pub const ACCEPT: i32 = 1;
    pub const JUMP: i32 = -3;
    pub const GOTO: i32 = -4;
}

/// `NFT_REG_VERDICT` and `NFT_REG32_00`: registers of four bytes each.
pub const REGISTER_VERDICT: u32 = 0;
pub const REGISTER_FIRST: u32 = 8;

pub const CMP_EQ: u32 = 0;
pub const CMP_NEQ: u32 = 1;

pub const PAYLOAD_NETWORK: u32 = 1;
pub const PAYLOAD_TRANSPORT: u32 = 2;

pub const META_L4PROTO: u32 = 16;
pub const META_IIFGROUP: u32 = 21;
pub const META_OIFGROUP: u32 = 22;

pub const CT_STATE: u32 = 0;
pub const CT_STATE_INVALID: u32 = 1;
pub const CT_STATE_ESTABLISHED: u32 = 2;
pub const CT_STATE_RELATED: u32 = 4;

pub const FIB_RESULT_ADDRTYPE: u32 = 3;
pub const FIB_SADDR: u32 = 1;
pub const FIB_DADDR: u32 = 2;
/// `RTN_LOCAL` of `linux/rtnetlink.h`.
pub const RTN_LOCAL: u32 = 2;

pub const NG_RANDOM: u32 = 1;
pub const DYNSET_UPDATE: u32 = 1;
pub const DYNSET_DELETE: u32 = 2;
pub const NAT_SNAT: u32 = 0;
pub const NAT_DNAT: u32 = 1;
pub const NAT_RANGE_PROTO_RANDOM_FULLY: u32 = 1 << 4;
pub const REJECT_ICMP_UNREACH: u32 = 0;
pub const REJECT_TCP_RST: u32 = 1;
/// `ICMP_PORT_UNREACH` of `linux/icmp.h`.
pub const ICMP_PORT_UNREACH: u8 = 3;
/// `ICMP_REDIRECT`.
pub const ICMP_REDIRECT: u8 = 5;

/// `NLMSGERR_ATTR_MSG`: the kernel's own words on an error.
pub const ERROR_TEXT: u16 = 1;
