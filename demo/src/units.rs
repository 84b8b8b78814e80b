//! The units of Granvik, their providers and the boards that answer for them.

use crate::access::Source;

/// The installation's organisation: Granvik is municipality and region in one.
pub(crate) const ORGANISATION: &str = "SE2120009999";
/// Its name.
pub(crate) const ORGANISATION_NAME: &str = "Granvik, kommun och region";
/// Hälso- och sjukvårdsnämnden: answers for the hospital and primary care.
pub(crate) const HEALTH_BOARD: &str = "SE2120009999-HSN";
/// Välfärdsnämnden: answers for home care, individual and family services, and pupil health.
pub(crate) const WELFARE_BOARD: &str = "SE2120009999-VFN";

/// Care providers by index: the region, the municipality, and a private clinic whose records are shared.
pub(crate) const PROVIDERS: &[(&str, &str)] = &[
    ("SE2120009999-B001", "Region Granvik"),
    ("SE2120009999-B002", "Granviks kommun"),
    ("SE5590009998-B001", "Strandhälsan i Granvik AB"),
];
pub(crate) const REGION: usize = 0;
pub(crate) const MUNICIPALITY: usize = 1;
pub(crate) const PRIVATE: usize = 2;
/// The private clinic's unit: it owns records in the national service, and none of its staff is in our logs.
pub(crate) const PRIVATE_UNIT: (&str, &str) = ("SE5590009998-E001", "Strandhälsan, mottagningen");

/// What kind of work a unit does: it decides titles, hours, relations and how records are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Emergency,
    Ward,
    Clinic,
    Primary,
    Imaging,
    HomeCare,
    Residence,
    HomeNursing,
    Social,
    Assessment,
    PupilHealth,
    Quality,
}

impl Kind {
    /// Open at all hours.
    pub(crate) fn round_the_clock(self) -> bool {
        matches!(self, Kind::Emergency | Kind::Ward | Kind::Residence)
    }

    /// Open on weekends.
    pub(crate) fn weekends(self) -> bool {
        self.round_the_clock() || matches!(self, Kind::HomeCare | Kind::HomeNursing | Kind::Imaging)
    }
}

/// One unit.
#[derive(Debug)]
pub(crate) struct Unit {
    pub id: &'static str,
    pub name: &'static str,
    pub parent: usize,
    pub kind: Kind,
    pub provider: usize,
    pub board: &'static str,
    /// Its share of the staff, and of the accesses.
    pub staff: u32,
    pub load: u32,
    pub source: Source,
}

/// Departments: parents of units, without staff of their own.
pub(crate) const PARENTS: &[(&str, &str, usize, &str)] = &[
    ("SE2120009999-E100", "Granviks sjukhus", REGION, HEALTH_BOARD),
    ("SE2120009999-E200", "Primärvården", REGION, HEALTH_BOARD),
    ("SE2120009999-E300", "Vård och omsorg", MUNICIPALITY, WELFARE_BOARD),
    ("SE2120009999-E400", "Individ och familj", MUNICIPALITY, WELFARE_BOARD),
    ("SE2120009999-E500", "Elevhälsan", MUNICIPALITY, WELFARE_BOARD),
];

/// Shorthand for one row of [`UNITS`].
const fn unit(
    id: &'static str,
    name: &'static str,
    parent: usize,
    kind: Kind,
    staff: u32,
    load: u32,
    source: Source,
) -> Unit {
    let region = parent < 2;
    let provider = if region { REGION } else { MUNICIPALITY };
    let board = if region { HEALTH_BOARD } else { WELFARE_BOARD };
    Unit { id, name, parent, kind, provider, board, staff, load, source }
}

/// Every unit whose staff open records.
pub(crate) const UNITS: &[Unit] = &[
    unit("SE2120009999-E101", "Akutmottagningen", 0, Kind::Emergency, 34, 90, Source::Journal),
    unit("SE2120009999-E102", "Medicinavdelning 1", 0, Kind::Ward, 36, 80, Source::Journal),
    unit("SE2120009999-E103", "Medicinavdelning 2", 0, Kind::Ward, 32, 70, Source::Journal),
    unit("SE2120009999-E104", "Kirurgavdelningen", 0, Kind::Ward, 34, 70, Source::Journal),
    unit("SE2120009999-E105", "Ortopedavdelningen", 0, Kind::Ward, 28, 55, Source::Journal),
    unit("SE2120009999-E106", "Geriatriska avdelningen", 0, Kind::Ward, 26, 50, Source::Journal),
    unit("SE2120009999-E107", "Barnkliniken", 0, Kind::Ward, 24, 40, Source::Journal),
    unit("SE2120009999-E108", "Kvinnokliniken", 0, Kind::Ward, 24, 40, Source::Journal),
    unit("SE2120009999-E109", "Psykiatriska mottagningen", 0, Kind::Clinic, 20, 45, Source::Journal),
    unit("SE2120009999-E110", "Röntgenavdelningen", 0, Kind::Imaging, 20, 90, Source::Imaging),
    unit("SE2120009999-E201", "Vårdcentralen Almen", 1, Kind::Primary, 26, 62, Source::Journal),
    unit("SE2120009999-E202", "Vårdcentralen Strömmen", 1, Kind::Primary, 24, 58, Source::Journal),
    unit("SE2120009999-E203", "Vårdcentralen Kvarnbacken", 1, Kind::Primary, 20, 46, Source::Journal),
    unit("SE2120009999-E301", "Hemtjänsten Norr", 2, Kind::HomeCare, 28, 62, Source::Social),
    unit("SE2120009999-E302", "Hemtjänsten Söder", 2, Kind::HomeCare, 28, 60, Source::Social),
    unit("SE2120009999-E303", "Solgläntans särskilda boende", 2, Kind::Residence, 24, 40, Source::Social),
    unit("SE2120009999-E304", "Kommunala hemsjukvården", 2, Kind::HomeNursing, 16, 34, Source::Portal),
    unit("SE2120009999-E305", "Biståndsenheten", 2, Kind::Assessment, 10, 22, Source::Social),
    unit("SE2120009999-E401", "Mottagningsgruppen", 3, Kind::Social, 10, 22, Source::Social),
    unit("SE2120009999-E402", "Barn och familj", 3, Kind::Social, 14, 30, Source::Social),
    unit("SE2120009999-E403", "Ekonomiskt bistånd", 3, Kind::Social, 12, 30, Source::Social),
    unit("SE2120009999-E501", "Elevhälsan Centrum", 4, Kind::PupilHealth, 9, 22, Source::Portal),
    unit("SE2120009999-E502", "Elevhälsan Norr", 4, Kind::PupilHealth, 7, 18, Source::Portal),
    unit("SE2120009999-E111", "Kvalitet och patientsäkerhet", 0, Kind::Quality, 4, 2, Source::Journal),
];

/// The unit that the demo's reviewer leads and where most is planted.
pub(crate) const HERO: usize = 1;
pub(crate) const EMERGENCY: usize = 0;
pub(crate) const CHILDREN: usize = 6;
pub(crate) const WOMEN: usize = 7;
pub(crate) const PSYCHIATRY: usize = 8;
pub(crate) const IMAGING: usize = 9;
pub(crate) const FIRST_PRIMARY: usize = 10;
pub(crate) const HOME_NORTH: usize = 13;
pub(crate) const HOME_SOUTH: usize = 14;
pub(crate) const RESIDENCE: usize = 15;
pub(crate) const HOME_NURSING: usize = 16;
pub(crate) const ASSESSMENT: usize = 17;
pub(crate) const INTAKE: usize = 18;
pub(crate) const FAMILY: usize = 19;
pub(crate) const AID: usize = 20;
pub(crate) const PUPIL_CENTRE: usize = 21;
pub(crate) const PUPIL_NORTH: usize = 22;
pub(crate) const QUALITY: usize = 23;

/// A profession: its title, its weight within the unit, whether it keeps office hours, how much it writes.
pub(crate) struct Title {
    pub name: &'static str,
    pub weight: u32,
    pub office: bool,
    /// Of a hundred sessions, in how many a note is written.
    pub writes: u32,
}

const fn title(name: &'static str, weight: u32, office: bool, writes: u32) -> Title {
    Title { name, weight, office, writes }
}

/// The professions of a kind of unit, the chief not among them.
pub(crate) fn titles(kind: Kind) -> &'static [Title] {
    const HOSPITAL: &[Title] = &[
        title("Sjuksköterska", 42, false, 55),
        title("Undersköterska", 26, false, 30),
        title("Läkare", 20, true, 60),
        title("Medicinsk sekreterare", 7, true, 15),
        title("Fysioterapeut", 5, true, 50),
    ];
    const CLINIC: &[Title] = &[
        title("Läkare", 30, true, 60),
        title("Sjuksköterska", 36, true, 50),
        title("Psykolog", 12, true, 50),
        title("Kurator", 8, true, 45),
        title("Medicinsk sekreterare", 14, true, 15),
    ];
    const PRIMARY: &[Title] = &[
        title("Läkare", 30, true, 60),
        title("Distriktssköterska", 34, true, 55),
        title("Undersköterska", 14, true, 30),
        title("Fysioterapeut", 8, true, 50),
        title("Medicinsk sekreterare", 14, true, 15),
    ];
    const IMAGING: &[Title] =
        &[title("Röntgensjuksköterska", 60, false, 30), title("Radiolog", 40, true, 60)];
    const HOME: &[Title] = &[
        title("Undersköterska", 55, false, 40),
        title("Vårdbiträde", 35, false, 30),
        title("Samordnare", 10, true, 25),
    ];
    const NURSING: &[Title] = &[title("Sjuksköterska", 80, false, 55), title("Arbetsterapeut", 20, true, 45)];
    const SOCIAL: &[Title] = &[
        title("Socialsekreterare", 75, true, 55),
        title("Förste socialsekreterare", 12, true, 30),
        title("Familjebehandlare", 13, true, 50),
    ];
    const ASSESS: &[Title] = &[title("Biståndshandläggare", 100, true, 50)];
    const PUPIL: &[Title] = &[
        title("Skolsköterska", 55, true, 55),
        title("Skolkurator", 20, true, 45),
        title("Skolläkare", 10, true, 50),
        title("Skolpsykolog", 15, true, 45),
    ];
    const QUALITY: &[Title] = &[title("Kvalitetssamordnare", 100, true, 0)];
    match kind {
        Kind::Emergency | Kind::Ward => HOSPITAL,
        Kind::Clinic => CLINIC,
        Kind::Primary => PRIMARY,
        Kind::Imaging => IMAGING,
        Kind::HomeCare | Kind::Residence => HOME,
        Kind::HomeNursing => NURSING,
        Kind::Social => SOCIAL,
        Kind::Assessment => ASSESS,
        Kind::PupilHealth => PUPIL,
        Kind::Quality => QUALITY,
    }
}

/// What the chief of such a unit is called.
pub(crate) fn chief(kind: Kind) -> &'static str {
    match kind {
        Kind::HomeCare | Kind::Residence | Kind::HomeNursing | Kind::Social | Kind::Assessment => {
            "Enhetschef"
        }
        _ => "Verksamhetschef",
    }
}
