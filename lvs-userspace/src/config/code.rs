//! The diagnostics' codes. A code is stable: people search for it, scripts filter by it.
//!
//! 0xx files and words, 02x braces, 03x keywords, 04x arguments, 05x and 08x services that cannot work as they are,
//! 06x, 09x and 1xx warnings, 07x notices. Some file in `tests/ui/` provokes each. XLVS032, 034, 050, 070 and 098 are not used
//! any more.

/// How bad a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file is not used.
    Error,
    /// The file is used, but probably not as its author meant it.
    Warning,
    /// The file is used; worth knowing once.
    Notice,
}

impl Severity {
    pub(crate) const ALL: [Self; 3] = [Self::Error, Self::Warning, Self::Notice];

    /// `error`, `warning` or `notice`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal $severity:ident,)*) => {
        /// What a diagnostic is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// A `${NAME}` is left where a value should be.
            pub(crate) const fn leaves_a_variable(self) -> bool {
                matches!(
                    self,
                    Self::UndefinedVariable
                        | Self::VariableInItself
                        | Self::ExpandedTooLong
                        | Self::BadParameters
                )
            }

            /// It is no more than that this word cannot stand here.
            pub(crate) const fn is_about_a_word(self) -> bool {
                matches!(
                    self,
                    Self::BadAddress
                        | Self::BadPort
                        | Self::BadNumber
                        | Self::BadChoice
                        | Self::BadRange
                        | Self::BadGranularity
                        | Self::BadMark
                )
            }

            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as users see it.
            pub(crate) const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            pub(crate) const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    /// A byte sequence that is not UTF-8.
    NotUtf8 = "XLVS001" Error,
    /// A NUL byte: the file is no text.
    Nul = "XLVS002" Error,
    /// A file that an `include` asks for and that cannot be had.
    IncludeFailed = "XLVS003" Error,
    /// A file that is included in itself.
    IncludesItself = "XLVS004" Error,
    /// Files, variables or sequences that make more of a configuration than is read.
    TooMuch = "XLVS005" Error,
    /// An `include` where keepalived's processes do not read the same.
    IncludeRefused = "XLVS006" Error,
    /// An `@ID` without anything behind it.
    EmptyCondition = "XLVS007" Warning,
    /// A quotation mark of a book, which quotes nothing here.
    TypographicQuote = "XLVS008" Error,
    /// Lines that end with CR and no LF.
    CarriageReturns = "XLVS009" Error,
    /// A `"` without its partner on the same line.
    UnmatchedQuote = "XLVS010" Error,
    /// A line longer than keepalived reads.
    LineTooLong = "XLVS011" Error,
    /// A character that looks like a blank or like nothing, but is neither for the parser.
    InvisibleCharacter = "XLVS012" Error,
    /// A `${NAME}` that nothing defines.
    UndefinedVariable = "XLVS013" Error,
    /// A variable whose value needs its own value.
    VariableInItself = "XLVS014" Error,
    /// A `~SEQ` or `~LST` that is none.
    BadSequence = "XLVS015" Error,
    /// A line that is too long once variables are replaced.
    ExpandedTooLong = "XLVS016" Error,
    /// A line that looks like a definition and is none.
    BadDefinition = "XLVS017" Error,
    /// A predefined variable with the wrong words behind its name.
    BadParameters = "XLVS018" Error,
    /// A comment that begins in a variable's value.
    CommentFromVariable = "XLVS019" Warning,
    /// A block without its `}`.
    MissingClose = "XLVS020" Error,
    /// A `}` without its block.
    UnexpectedClose = "XLVS021" Error,
    /// A keyword that needs a block and has none.
    MissingOpen = "XLVS022" Error,
    /// A `{` without a keyword, or on a keyword that takes no block.
    UnexpectedOpen = "XLVS023" Error,
    /// More blocks inside each other than any configuration has.
    TooDeep = "XLVS024" Error,
    /// A keyword that keepalived does not know either.
    UnknownKeyword = "XLVS030" Warning,
    /// A keyword that belongs in another block.
    MisplacedKeyword = "XLVS031" Warning,
    /// A value or form that keepalived knows and this version does not.
    ValueNotYet = "XLVS033" Error,
    /// A keyword of DPVS's dialect.
    DpvsKeyword = "XLVS036" Warning,
    /// An argument that is not there.
    MissingArgument = "XLVS040" Error,
    /// An argument too many.
    ExtraArgument = "XLVS041" Error,
    /// Not an address that a server can have.
    BadAddress = "XLVS042" Error,
    /// Not a port.
    BadPort = "XLVS043" Error,
    /// Not a number, or one outside its range.
    BadNumber = "XLVS044" Error,
    /// Not one of the words that a keyword takes.
    BadChoice = "XLVS045" Error,
    /// Not a range of addresses.
    BadRange = "XLVS046" Error,
    /// Not what makes addresses one client.
    BadGranularity = "XLVS047" Error,
    /// Not a firewall mark.
    BadMark = "XLVS048" Error,
    /// Not what a keyword takes, in some other way.
    BadText = "XLVS049" Error,
    /// A service without `protocol` gets UDP, which is seldom meant.
    NoProtocol = "XLVS051" Warning,
    /// A service without real servers, which is ignored.
    NoRealServers = "XLVS052" Warning,
    /// A second service with the same address, port and protocol, or the same mark.
    DuplicateService = "XLVS053" Error,
    /// More services, real servers or marked addresses than the tables hold.
    TooMany = "XLVS054" Error,
    /// A `laddr_group_name` or `virtual_server group` that names no group.
    UnknownGroup = "XLVS055" Error,
    /// A group or `fwmark_match` without addresses.
    EmptyGroup = "XLVS056" Error,
    /// A second group of the same name.
    DuplicateGroup = "XLVS057" Error,
    /// An address of the other family than its service's.
    WrongFamily = "XLVS058" Error,
    /// More local addresses than a service can have.
    TooManyLocalAddresses = "XLVS059" Error,
    /// A second real server with the same address and port.
    DuplicateRealServer = "XLVS060" Warning,
    /// A keyword given twice.
    Repeated = "XLVS061" Warning,
    /// A service whose real servers all have weight 0.
    AllWeightsZero = "XLVS062" Warning,
    /// A file without any service.
    NoServices = "XLVS063" Warning,
    /// `ops` on a service that is not UDP.
    OpsNeedsUdp = "XLVS064" Warning,
    /// `laddr_group_name` on a service without full NAT.
    LocalAddressesNeedFullNat = "XLVS065" Warning,
    /// An address that a `local_address_group` has already.
    DuplicateLocalAddress = "XLVS066" Warning,
    /// A flag that the scheduler does not read, or that stands above its `lb_algo`.
    FlagWithoutEffect = "XLVS067" Warning,
    /// A service for all ports without persistence gets it.
    AllPorts = "XLVS068" Warning,
    /// `protocol` on a service of a mark.
    ProtocolOfMark = "XLVS069" Warning,
    /// `persistent_timeout`, one vendor's spelling.
    AliasSpelling = "XLVS071" Notice,
    /// A service without `lb_kind` gets NAT.
    DefaultForwarding = "XLVS072" Notice,
    /// A service without `lb_algo` gets wlc.
    DefaultScheduler = "XLVS073" Notice,
    /// `hashed`, which does nothing in keepalived either.
    Hashed = "XLVS074" Notice,
    /// A variable of the environment that is not there.
    NotInEnvironment = "XLVS075" Notice,
    /// What is checked and shown, but without effect.
    NotActedOn = "XLVS076" Notice,
    /// A service that the data path cannot balance is left out.
    NotBalanced = "XLVS077" Warning,
    /// What is keepalived's business.
    Foreign = "XLVS078" Notice,
    /// A real server's lower threshold is above its upper one.
    Thresholds = "XLVS080" Error,
    /// A checker without what it cannot do without; it is left out.
    CheckIncomplete = "XLVS081" Warning,
    /// A checker that has no port to ask.
    CheckWithoutPort = "XLVS082" Warning,
    /// A checker of a file or BFD session that is not there; it is left out.
    CheckOfNothing = "XLVS083" Warning,
    /// A regular expression that is none.
    BadRegex = "XLVS084" Error,
    /// Packets that two lines mark.
    MarkedTwice = "XLVS090" Warning,
    /// A service whose packets carry the mark of another one.
    MarkGoesFirst = "XLVS091" Warning,
    /// A service of a mark that no line gives.
    MarkNeverSet = "XLVS092" Warning,
    /// A mark that no service is for.
    MarkUnused = "XLVS093" Warning,
    /// A `$NAME` that stays as it is.
    NotReplaced = "XLVS094" Warning,
    /// A file that an `include` would like to have and that cannot be had.
    IncludeSkipped = "XLVS095" Warning,
    /// A quorum that all real servers together do not reach.
    QuorumTooHigh = "XLVS096" Warning,
    /// A hysteresis that is not less than the quorum.
    HysteresisTooHigh = "XLVS097" Warning,
    /// A real server that is the sorry server too.
    SorryIsReal = "XLVS099" Warning,
    /// A service whose clients should stay with their servers, and do not.
    ClientsMayMove = "XLVS100" Warning,
    /// `ha_suspend` on a service of a mark.
    HaSuspendOfMark = "XLVS101" Warning,
    /// What should stand below `sorry_server`.
    AboveSorryServer = "XLVS102" Warning,
    /// `persistence_engine` without persistence.
    EngineNeedsPersistence = "XLVS103" Warning,
    /// A source address of the other family than the destination.
    BindFamily = "XLVS104" Warning,
    /// A second `track_file` of the same name.
    DuplicateTrackFile = "XLVS106" Warning,
    /// A keyword that has a newer spelling.
    OldSpelling = "XLVS107" Notice,
    /// A brace too few or too many in a block that is keepalived's business.
    ForeignBraces = "XLVS108" Warning,
    /// A value that has no effect beside another one.
    WithoutEffect = "XLVS109" Warning,
    /// A 0 where keepalived takes none, and goes on without it.
    ZeroIgnored = "XLVS110" Warning,
    /// A real server of the other family than its service, which keepalived leaves out.
    ServerOfOtherFamily = "XLVS111" Warning,
    /// A program, user, interface or file that is not there or cannot be used, so that a check or script cannot run.
    NotOnThisMachine = "XLVS112" Warning,
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn every_code_is_shown_by_a_ui_test() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
        let shown: String = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "stderr"))
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        for code in Code::ALL {
            let title = format!("{}[{}]", code.severity().as_str(), code.id());
            assert!(shown.contains(&title), "no file in tests/ui provokes {title}");
        }
    }

    #[test]
    fn codes_are_unique_and_ascend() {
        assert!(Code::ALL.is_sorted_by(|a, b| a.id() < b.id()));
    }
}
